-- The names of queues that have a ready job: a loose scan, one descent a queue, whatever the backlog.
-- $1 the name to go on after ('': from the first)  $2 number of queues, at most
-- Rows: one a queue, by name. Index: job_for_claim.
with recursive names as (
  (select queue, 1 as n from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) and queue > $1::text order by queue limit 1)
  union all
  select (select job.queue from asyncjobs.job where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue > names.queue order by job.queue limit 1), n + 1
  from names where names.queue is not null and n < $2::integer
)
select queue from names where queue is not null
