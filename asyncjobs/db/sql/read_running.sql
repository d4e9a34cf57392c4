-- The jobs that have run longest, among some of those that run.
-- $1 number of jobs, at most  $2 number of running jobs to read, at most
-- Rows: no arguments; `seconds`: since this attempt began; done, total, note: its progress, null when it has shown none; the longest
-- first. Index: job_for_rescue.
with active as materialized (
  select id, kind, queue, attempt, worker, started_at, cancel_reason from asyncjobs.job where state = 2 limit $2::integer
), longest as materialized (
  select * from active order by started_at limit $1::integer
)
select id, kind, queue, attempt, worker, extract(epoch from clock_timestamp() - asyncjobs.shown(started_at))::float8 as seconds,
       cancel_reason is not null as is_cancelled, done, total, note
from longest left join asyncjobs.progress(array(select id from longest)) as shown on shown.job = longest.id
order by started_at
