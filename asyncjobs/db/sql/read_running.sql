-- The jobs that have run longest, among some of those that run.
-- $1 number of jobs, at most  $2 number of running jobs to read, at most
-- Rows: no arguments; `seconds`: since this attempt began; the longest first. Index: job_for_rescue.
with active as materialized (
  select id, kind, queue, attempt, worker, started_at, cancel_reason from asyncjobs.job where state = 2 limit $2::integer
)
select id, kind, queue, attempt, worker, extract(epoch from clock_timestamp() - asyncjobs.shown(started_at))::float8 as seconds,
       cancel_reason is not null as is_cancelled
from active order by started_at limit $1::integer
