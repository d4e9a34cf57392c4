-- Everything about one job.
-- $1 id
-- Rows: none or one.
-- A time written by hand that Python cannot hold is shown as the nearest that it can; the end of time is no time.
select id, state, kind, queue, priority, attempt, crashes, args, null::text as result, errors, null::text as reason,
       least(greatest(enqueued_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as enqueued_at,
       case when run_at < 'infinity' then least(greatest(run_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as run_at,
       case when started_at is not null then least(greatest(started_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as started_at,
       null::timestamptz as finished_at, worker, cancel_reason, counts,
       case when expires_at is not null
         then least(greatest(expires_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as expires_at,
       progress,
       case when progress is not null then (select json_agg(to_json(step) order by n)::text
                                            from asyncjobs.step where step.job = job.id) end as steps
from asyncjobs.job where id = $1::uuid
union all
select id, state, kind, queue, priority, attempt, crashes, args, result, errors, reason,
       least(greatest(enqueued_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00'), null,
       case when started_at is not null then least(greatest(started_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end,
       least(greatest(finished_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00'), null, null, null, null, progress, steps
from asyncjobs.finished where id = $1::uuid
limit 1
