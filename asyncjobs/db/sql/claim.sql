-- Claim jobs for the free slots of some pools, in pool order, then in the order of each pool's ranges.
-- $1 free slots of each pool  $2 pool of each range (from 1)  $3 queue  $4 least priority  $5 greatest priority
-- $6 least seq at the least priority: the position up to which this worker has seen the queue
-- $7 kinds this worker knows  $8 this worker  $9 kinds that run in processes of their own  $10 kinds that may not crash
-- a second time
-- $11 4, or 2: leave out jobs under a rate, whose starts are to be counted (see jobs.counting_starts)
-- Rows: at most the sum of $1, in no order; sort by (pool, range, priority, seq). No timestamp, nothing decoded: one
-- row that the driver cannot decode would strand the whole batch as running. `refused`: the job is not to be run, since
-- 1 it was cancelled while it ran elsewhere, 2 it has expired, 3 it has crashed as often as its kind allows; no attempt is
-- spent on that. What is not so with most jobs is null then, not 0 or false: to send a null takes a tenth of the time.
-- Locks: the claimed rows, SKIP LOCKED. Index: job_for_claim, one descent a range.
-- The claim joins by ctid: by id the planner may walk the dead rows of the running index instead. A dead or missing
-- worker row claims nothing: its jobs would be charged with a crash that they did not cause. `unnest` feeds the nested loops
-- in order, and each limit stops them early, so that a range is not read before the ones ahead of it are used up.
-- `waited`: the time is read once, for all rows: to convert two times of each row took 1 us a job.
-- `least`: one row with the greatest attempt, written by hand, must not fail every claim of its queue.
-- Suspects, jobs that have crashed twice, are left to claim_suspects.sql.
-- Paused jobs are left out here, too, and not only by the worker: a notice may be late or lost, and a claim that begins after
-- a pause must bring no job of it.
with picked as materialized (
  select chosen.ctid, pool.n as pool, chosen.range
  from unnest($1::integer[]) with ordinality as pool(free, n)
  cross join lateral (
    select found.ctid, range.n as range
    from unnest($2::integer[], $3::text[], $4::smallint[], $5::smallint[], $6::bigint[])
         with ordinality as range(pool, queue, low, high, mark, n)
    cross join lateral (
      select job.ctid
      from asyncjobs.job
      where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = range.queue
        and (job.limit_kind is null or job.limit_kind < $11::integer)
        and (job.priority, job.seq) >= (range.low, range.mark) and job.priority <= range.high
        and job.crashes < 2 and job.kind = any($7::text[])
        and job.kind <> all(array(select name from asyncjobs.pause
                                  where scope = 'kind' and (until is null or until > (select clock_timestamp()))))
      order by job.priority, job.seq
      limit pool.free
      for no key update skip locked
    ) as found
    where range.pool = pool.n
      and range.queue <> all(array(select name from asyncjobs.pause
                                   where scope = 'queue' and (until is null or until > (select clock_timestamp()))))
    limit pool.free
  ) as chosen
  where exists (select from asyncjobs.worker where id = $8::uuid and dead_at is null)
)
update asyncjobs.job
set state = 2, fence = nextval('asyncjobs.fence_seq'), worker = $8::uuid, started_at = clock_timestamp(),
    apart = job.kind = any($9::text[]), unique_until = case when unique_until = 1 then -2 else unique_until end,
    attempt = case when cancel_reason is null and (expires_at is null or attempt > 0 or expires_at > clock_timestamp())
                        and not (crashes > 0 and job.kind = any($10::text[]))
                   then least(attempt, 2147483646) + 1 else attempt end
from picked
where job.ctid = picked.ctid
returning picked.pool, picked.range, job.priority, job.seq, job.id, job.fence, job.attempt, job.kind, job.queue, job.args,
          job.crashes, job.counts,
          case when job.cancel_reason is not null then 1 when job.crashes > 0 and job.kind = any($10::text[]) then 3
               when job.attempt = 0 then 2 end as refused, job.progress,
          case when job.limit_key is not null then true end as limited, job.batch, extract(epoch from job.tick)::text as tick,
          (select date_part('epoch', clock_timestamp())) - date_part('epoch', job.run_at) as waited, job.labels,
          null::boolean as apart, null::smallint as together
