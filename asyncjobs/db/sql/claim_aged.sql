-- Pick jobs for the free slots of one pool that has aging. The text of claim.sql from its update on follows, with the same
-- parameters.
-- $1 free slots, one number  $2 turn of the queue of each range  $3 queue  $4 least priority  $5 greatest priority
-- $6 least seq at the least priority  $7 kinds  $8 this worker  $9 to $11 see claim.sql  $12 seconds in which a job gains a step
-- Rows: as claim.sql's, pool 1, range: the place in the order in which they are to run.
-- The queues come in turn. Within one, jobs are ordered by the time at which they were due, plus $12 seconds for each step of
-- priority: so a job gains a step in $12 seconds, and no row is written. Within a priority that is the order of seq, as the
-- positions need it. The priorities of a range are found one by one, 100 of them at most.
-- A few more jobs are read than there are slots, since others may have locked the first; only the taken ones are locked here.
-- Locks: the claimed rows, SKIP LOCKED. Index: job_for_claim, two descents a priority.
with recursive level as (
  select range.turn, range.queue, first.priority, range.high, case when first.priority = range.low then range.mark end as mark, 1 as n
  from unnest($2::integer[], $3::text[], $4::smallint[], $5::smallint[], $6::bigint[]) as range(turn, queue, low, high, mark)
  cross join lateral (
    select job.priority
    from asyncjobs.job
    where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = range.queue
      and (job.priority, job.seq) >= (range.low, range.mark) and job.priority <= range.high
    order by job.priority, job.seq limit 1
  ) as first
  where range.queue <> all(array(select name from asyncjobs.pause
                                 where scope = 'queue' and (until is null or until > (select clock_timestamp()))))
  union all
  select level.turn, level.queue, next.priority, level.high, null, level.n + 1
  from level
  cross join lateral (
    select job.priority
    from asyncjobs.job
    where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = level.queue
      and job.priority > level.priority and job.priority <= level.high
    order by job.priority, job.seq limit 1
  ) as next
  where level.n < 100
), ordered as materialized (
  select found.at,
         row_number() over (order by level.turn,
                                     found.due + level.priority * $12::float8, level.priority, found.seq) as n
  from level
  cross join lateral (
    select front.ctid as at, front.seq, max(extract(epoch from front.run_at)::float8) over (order by front.seq) as due
    from (
      select job.ctid, job.seq, job.run_at
      from asyncjobs.job
      where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = level.queue
        and job.priority = level.priority and job.seq >= coalesce(level.mark, -9223372036854775808)
        and job.crashes < 2 and job.kind = any($7::text[]) and (job.limit_kind is null or job.limit_kind < $11::integer)
        and job.kind <> all(array(select name from asyncjobs.pause
                                  where scope = 'kind' and (until is null or until > (select clock_timestamp()))))
      order by job.priority, job.seq
      limit ($1::integer[])[1] + 20
    ) as front
  ) as found
  order by n
), picked as materialized (
  select job.ctid, 1 as pool, ordered.n as range
  from ordered join asyncjobs.job on job.ctid = ordered.at
  where job.state = 1 and exists (select from asyncjobs.worker where id = $8::uuid and dead_at is null)
  limit ($1::integer[])[1]
  for no key update of job skip locked
)
