-- A job, live or finished: what is told of it, for status, lists, `why` and whatever else looks. The live one comes first, where
-- an id is in both tables for the moment of a retry: take one row.
-- Times as asyncjobs.shown has them; the end of time is none. error: the last line of errors. steps: a JSON array in their order.
-- A look-up by id descends job_pkey and finished_by_id of each partition, as if it were written out; what is not asked for is
-- not computed; so the types of the columns must be the same in both. New columns come last: so it is replaced, and keeps its grants.
create or replace view asyncjobs.job_status as
select id, fence, state::smallint as state, kind, queue, priority, seq, attempt, crashes, args::text as args, null::text as result, errors,
       reverse(split_part(reverse(errors), E'\n', 1)) as error, null::text as reason, cancel_reason, counts,
       asyncjobs.shown(enqueued_at) as enqueued_at,
       case when run_at < 'infinity' then asyncjobs.shown(run_at) end as run_at,
       asyncjobs.shown(started_at) as started_at, null::timestamptz as finished_at, asyncjobs.shown(expires_at) as expires_at,
       worker, apart, together, progress,
       case when progress is not null then (select json_agg(to_json(step) order by n)::text
                                            from asyncjobs.step where step.job = job.id) end as steps,
       labels, searchable
from asyncjobs.job
union all
select id, fence, state, kind, queue, priority, null::bigint, attempt, crashes, args, result, errors,
       reverse(split_part(reverse(errors), E'\n', 1)), reason, null::text, null::text,
       asyncjobs.shown(enqueued_at), null::timestamptz,
       asyncjobs.shown(started_at), asyncjobs.shown(finished_at), null::timestamptz,
       null::uuid, false, null::smallint, progress, steps, labels, searchable
from asyncjobs.finished;
