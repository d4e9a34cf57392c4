-- What one who enqueues may know of a job: all but arguments, attributes and results.
-- $1 id
-- Rows: none or one; args, result and progress are null.
-- A time written by hand that Python cannot hold is shown as the nearest that it can; the end of time is no time.
select $1::uuid as id, state, kind, queue, priority, attempt, crashes, null::text as args, null::text as result, errors, reason,
       least(greatest(enqueued_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as enqueued_at,
       case when run_at < 'infinity' then least(greatest(run_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as run_at,
       case when started_at is not null then least(greatest(started_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as started_at,
       case when finished_at is not null then least(greatest(finished_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as finished_at, worker, cancel_reason, counts,
       case when expires_at is not null
         then least(greatest(expires_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as expires_at,
       null::text as progress, steps
from asyncjobs.status($1::uuid)
