-- One job as an enqueuer may read it: without arguments, attributes and result.
-- $1 id
-- Rows: none or one; args, result and progress are null.
select $1::uuid as id, state, kind, queue, priority, attempt, crashes, null::text as args, null::text as result, errors, reason,
       enqueued_at, run_at, started_at, finished_at, worker, cancel_reason, counts, expires_at, null::text as progress, steps, labels
from asyncjobs.status($1::uuid)
