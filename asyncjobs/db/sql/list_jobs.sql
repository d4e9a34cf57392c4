-- Jobs that match, newest first; see asyncjobs.find. $1 what is wanted (JSON)  $2 number of jobs, at most
-- Rows: one each. A filter that no index serves walks far: the caller's statement_timeout bounds it.
select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, error, labels
from asyncjobs.find($1::text::json, $2::integer)
