-- Jobs whose ids are in a range, newest first.
-- $1 the least id  $2 the greatest  $3 number of jobs, at most
-- Rows: as list_jobs.sql. Index: job_pkey and finished_by_id of each partition, backwards; job_status by id.
with matching as materialized (
  (select id from asyncjobs.job where id >= $1::uuid and id <= $2::uuid order by id desc limit $3::integer)
  union
  (select id from asyncjobs.finished where id >= $1::uuid and id <= $2::uuid order by id desc limit $3::integer)
  order by id desc limit $3::integer
)
select job.*
from matching cross join lateral (
  select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, error, labels
  from asyncjobs.job_status where job_status.id = matching.id limit 1
) as job
order by job.id desc
