-- Which of these attempts were given back already: their reschedule was committed and its answer lost.
-- $1 ids  $2 fences
-- Rows: at most one an id; `id`. A job that was claimed since is not found.
-- Index: job_pkey.
select job.id
from unnest($1::uuid[], $2::bigint[]) as given(id, fence)
join asyncjobs.job on job.id >= given.id and job.id <= given.id and job.fence = -given.fence
