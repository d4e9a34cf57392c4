-- Write items of the streams of running jobs, and notify.
-- $1 ids, ascending  $2 fences
-- $3 to $6 the items: the job's id, number, seconds since it was sent, value (JSON)
-- Rows: the ids of those whose fence is still the job's; of the others, whose leases are lost, nothing is written.
-- Locks: the job rows, in the order of their ids, so that an item is written before the job is given back, or not at all.
-- Written again after a lost answer, items stay the same. `>=` and `<=` for `=`: see finish.sql.
with given as materialized (
  select g.id, g.fence from unnest($1::uuid[], $2::bigint[]) as g(id, fence)
), held as materialized (
  select job.id, job.attempt
  from given join asyncjobs.job on job.id >= given.id and job.id <= given.id and job.fence = given.fence
  for share of job
), sent as (
  insert into asyncjobs.stream_item (job, n, attempt, sent_at, value)
  select i.job, i.n, held.attempt, clock_timestamp() - make_interval(secs => i.age), i.value
  from unnest($3::uuid[], $4::bigint[], $5::float8[], $6::text[]) as i(job, n, age, value) join held on held.id = i.job
  on conflict (job, n) do nothing
), told as (
  select pg_notify('asyncjobs_live', string_agg(left(id::text, 18), ','))  -- see client/live.py
  from (select id, row_number() over () / 200 as part from held) as parts group by part
)
select id, (select count(*) from told) as told from held
