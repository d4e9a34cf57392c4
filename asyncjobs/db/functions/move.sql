-- Move cancelled and discarded jobs that do not run to the history, and notify those who await them. Jobs whose attempt ends are
-- moved by finish.sql.
-- reasons: one an id; state: 6 or 7; days: for which they are kept, whose partition asyncjobs.make_room has made.
-- Rows: the ids of those moved.
-- Locks: the job rows, which the caller has locked in the order of their ids, and their steps.
create or replace function asyncjobs.move(ids uuid[], reasons text[], state integer, days integer) returns setof uuid
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  went uuid[];
  followed uuid[];
  told integer;
begin
  with given as materialized (
    select g.id, g.reason from unnest(move.ids, move.reasons) as g(id, reason)
  ), gone as (
    delete from asyncjobs.job using given where job.id >= given.id and job.id <= given.id and job.state <> 2
    returning job.id, job.fence, job.enqueued_at, job.started_at, job.attempt, job.priority, job.crashes, job.kind, job.queue,
              job.args, job.errors, job.awaited, job.followed, job.progress, job.batch, job.tick, job.unique_key, job.unique_until,
              job.limit_keys, job.limit_kind, job.labels, job.searchable, given.reason
  ), moved as (
    insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                    crashes, kind, queue, args, errors, reason, progress, steps, batch, tick, unique_key, unique_until,
                                    limit_keys, limit_kind, labels, searchable)
    select id, fence, asyncjobs.expires_on(move.days), enqueued_at, started_at, clock_timestamp(), attempt, priority, move.state,
           crashes, kind, queue, args, errors, reason, progress,
           case when progress is not null then asyncjobs.fold_steps(id) end, batch, tick, unique_key, unique_until,
           limit_keys, limit_kind, labels, searchable
    from gone
  ), told as (
    select pg_notify('asyncjobs_done', string_agg(left(id::text, 18), ','))  -- see client/awaiting.py
    from (select id, row_number() over () / 200 as part from gone where awaited) as awaited    -- a notice holds 8,000 bytes
    group by part
  ), noted as (
    insert into asyncjobs.limit_note (key) select distinct key from gone, unnest(limit_keys) as keys(key) returning n
  ), passed as (
    delete from asyncjobs.limit_pass using gone where limit_pass.job >= gone.id and limit_pass.job <= gone.id and cardinality(gone.limit_keys) > 1
  ), batches as (
    -- No worker has ended these: somebody is to look.
    select pg_notify('asyncjobs_batches', '') from (select from gone where batch is not null limit 1) as of_batch
  )
  select array_agg(gone.id), array_agg(gone.id order by gone.id) filter (where gone.followed),
         (select count(*) from told) + (select count(*) from batches)
         + (select count(pg_notify('asyncjobs_limits', '')) from (select from noted limit 1) as first)
  into went, followed, told from gone;
  -- In a statement of its own: what follows one of them may be among them, and one row is not for two to delete.
  perform asyncjobs.follow(f.id, move.state, null, move.reasons[array_position(move.ids, f.id)], move.days)
  from unnest(followed) as f(id);
  return query select g.id from unnest(went) as g(id);
end
$$;
