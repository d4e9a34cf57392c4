-- Everything about one job.
-- $1 id
-- Rows: none or one. Index: see asyncjobs.job_status.
select id, state, kind, queue, priority, attempt, crashes, args, result, errors, reason, enqueued_at, run_at, started_at,
       finished_at, worker, cancel_reason, counts, expires_at, progress, steps, labels
from asyncjobs.job_status where id = $1::uuid
limit 1
