-- Everything about one job.
-- $1 id
-- Rows: none or one.
select id, state, kind, queue, priority, attempt, crashes, args, null::text as result, errors, null::text as reason,
       enqueued_at, run_at, started_at, null::timestamptz as finished_at, worker
from asyncjobs.job where id = $1::uuid
union all
select id, state, kind, queue, priority, attempt, crashes, args, result, errors, reason,
       enqueued_at, null, started_at, finished_at, null
from asyncjobs.finished where id = $1::uuid
limit 1
