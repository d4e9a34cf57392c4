-- All jobs, live and final.
-- Rows: one a job, in the order in which they were enqueued.
select id, kind, queue, priority, state, attempt, args, result, errors, reason, run_at, enqueued_at, labels
from asyncjobs.job_status
order by enqueued_at, id
