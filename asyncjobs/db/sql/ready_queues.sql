-- The names of all queues that have a ready job: a loose scan, one descent a queue, whatever the backlog.
-- Rows: one a queue, by name. Index: job_for_claim.
with recursive names as (
  (select queue from asyncjobs.job where state = 1 order by queue limit 1)
  union all
  select (select job.queue from asyncjobs.job where job.state = 1 and job.queue > names.queue order by job.queue limit 1)
  from names where names.queue is not null
)
select queue from names where queue is not null
