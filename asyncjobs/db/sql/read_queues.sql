-- The queues, with the numbers of their jobs.
-- $1 number of jobs to count, at most: ready ones in each queue, others over all queues
-- Rows: one a queue, by name, the first 500; jobs that wait at a limit count as ready;
-- `oldest` is the age in seconds of the oldest ready job among those counted; `exact`: no count was
-- cut short.
-- Index: job_for_claim (a loose scan, then one range a queue), job_for_limits, job_for_promotion, job_for_rescue.
with recursive name as (
  (select queue, 1 as n from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) order by queue limit 1)
  union all
  select (select job.queue from asyncjobs.job where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue > name.queue order by job.queue limit 1), n + 1
  from name where name.queue is not null and n < 500
), ready as (
  select name.queue, counted.jobs, counted.oldest
  from name
  cross join lateral (
    select count(*) as jobs, 
             extract(epoch from clock_timestamp() - min(asyncjobs.shown(run_at)) filter (where isfinite(run_at)))::float8 as oldest
    from (select run_at from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) and queue = name.queue
          order by priority, seq limit $1::integer) as sample
  ) as counted
  where name.queue is not null
), held as materialized (
  select queue, run_at from asyncjobs.limited where place = 2 limit $1::integer
), limited as (
  select queue, count(*) as jobs,
         extract(epoch from clock_timestamp() - min(asyncjobs.shown(run_at)) filter (where isfinite(run_at)))::float8 as oldest
  from held group by queue
), parked as materialized (
  select queue, state from asyncjobs.job where state in (0, 3) limit $1::integer
), later as (
  select queue, count(*) filter (where state = 0) as scheduled, count(*) filter (where state = 3) as waiting
  from parked group by queue
), active as materialized (
  select queue from asyncjobs.job where state = 2 limit $1::integer
), running as (
  select queue, count(*) as jobs from active group by queue
)
select queue, coalesce(ready.jobs, 0) + coalesce(limited.jobs, 0) as ready, coalesce(later.scheduled, 0) as scheduled,
       coalesce(running.jobs, 0) as running, coalesce(later.waiting, 0) as waiting, greatest(ready.oldest, limited.oldest) as oldest,
       coalesce(ready.jobs, 0) < $1::integer and (select count(*) from held) < $1::integer
         and (select count(*) from parked) < $1::integer
         and (select count(*) from active) < $1::integer as exact
from ready full join limited using (queue) full join later using (queue) full join running using (queue)
order by queue
limit 500
