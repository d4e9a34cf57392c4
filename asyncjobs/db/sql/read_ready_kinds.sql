-- The kinds of ready jobs in the first 500 queues, among the first jobs of each.
-- $1 number of jobs to read of each queue
-- Rows: one a queue and kind.
with recursive name as (
  (select queue, 1 as n from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) order by queue limit 1)
  union all
  select (select job.queue from asyncjobs.job where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue > name.queue order by job.queue limit 1), n + 1
  from name where name.queue is not null and n < 500
)
select name.queue, sample.kind, count(*) as jobs
from name
cross join lateral (
  select kind from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) and queue = name.queue order by priority, seq limit $1::integer
) as sample
where name.queue is not null
group by name.queue, sample.kind
order by name.queue, sample.kind
