-- Move live jobs that do not run to the history, and tell those who wait for them: what is cancelled and discarded. What ends a
-- run is finish.sql's to move.
-- reasons: one an id; state: 6 or 7; days: how long they are kept, for whose day asyncjobs.make_room has looked.
-- Rows: the ids of those moved.
-- Locks: the job rows, which the caller has locked in the order of their ids, and their steps.
create or replace function asyncjobs.move(ids uuid[], reasons text[], state integer, days integer) returns setof uuid
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with given as materialized (
    select g.id, g.reason from unnest(move.ids, move.reasons) as g(id, reason)
  ), gone as (
    delete from asyncjobs.job using given where job.id = given.id and job.state <> 2
    returning job.id, job.fence, job.enqueued_at, job.started_at, job.attempt, job.priority, job.crashes, job.kind, job.queue,
              job.args, job.errors, job.awaited, job.progress, given.reason
  ), moved as (
    insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                    crashes, kind, queue, args, errors, reason, progress, steps)
    select id, fence, asyncjobs.expires_on(move.days), enqueued_at, started_at, clock_timestamp(), attempt, priority, move.state,
           crashes, kind, queue, args, errors, reason, progress,
           case when progress is not null then asyncjobs.fold_steps(id) end
    from gone
  ), told as (
    select pg_notify('asyncjobs_done', string_agg(id::text, ','))
    from (select id, row_number() over () / 200 as part from gone where awaited) as awaited    -- a notice holds 8,000 bytes
    group by part
  )
  select gone.id from gone, (select count(*) from told) as counted
$$;
