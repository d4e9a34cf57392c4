-- Everything about one job that a viewer may read.
-- $1 id
-- Rows: none or one; args is null.
select id, state, kind, queue, priority, attempt, crashes, null::text as args, null::text as result, errors,
       null::text as reason, enqueued_at, run_at, started_at, null::timestamptz as finished_at, worker
from asyncjobs.job where id = $1::uuid
union all
select id, state, kind, queue, priority, attempt, crashes, null, result, errors, reason,
       enqueued_at, null, started_at, finished_at, null
from asyncjobs.finished where id = $1::uuid
limit 1
