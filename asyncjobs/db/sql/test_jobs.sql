-- Every job there is, live and final.
-- Rows: one a job, in the order in which they were enqueued.
select id, kind, queue, priority, state, attempt, args, null::text as result, errors, null::text as reason, run_at, enqueued_at
from asyncjobs.job
union all
select id, kind, queue, priority, state, attempt, args, result, errors, reason, null, enqueued_at
from asyncjobs.finished
order by enqueued_at, id
