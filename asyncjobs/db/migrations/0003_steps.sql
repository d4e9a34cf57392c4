-- What steps need: what is recorded of each, the attributes of a job, and events that jobs wait for.

alter table asyncjobs.job
  add column progress text,                           -- JSON of its attributes; null: nothing was recorded, no step either
  add column woken boolean not null default false;    -- an event came between the start of its wait and its being parked
alter table asyncjobs.finished
  add column progress text,
  add column steps text;                              -- its rows of step, as a JSON array in their order

create table asyncjobs.step (
  job uuid not null,
  n integer not null,                                 -- in the order in which they were met, from 1
  name text not null,
  state text not null,                                -- started succeeded skipped handled sleeping waiting timed_out
  attempt integer not null,
  started_at timestamptz not null,
  finished_at timestamptz,
  wakes_at timestamptz,                               -- sleeping, waiting: until then; null: as long as it takes
  event text,                                         -- waiting: what for
  key text,
  result text,                                        -- JSON of what it returned, or of the event's payload
  cursor text,                                        -- JSON of how far it got
  error text,                                         -- handled: one JSON object
  primary key (job, name)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);
create index step_for_emit on asyncjobs.step (event, key) where state = 'waiting';

create table asyncjobs.event (
  id bigint generated always as identity primary key,
  name text not null,
  key text not null,                                  -- '': none
  payload text,                                       -- JSON
  emitted_at timestamptz not null default clock_timestamp()
);
create index event_for_wait on asyncjobs.event (name, key, id);

-- Waiting jobs whose time is over are promoted like scheduled ones; without one, run_at is infinity.
drop index asyncjobs.job_for_promotion;
create index job_for_promotion on asyncjobs.job (run_at) where state in (0, 3);

-- Take the steps of a job that leaves the live table; returns them as a JSON array in their order, or null.
create function asyncjobs.fold_steps(job uuid) returns text
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with gone as (delete from asyncjobs.step where step.job = fold_steps.job returning step.*)
  select json_agg(to_json(gone) order by n)::text from gone
$$;

-- Give a job that comes back to the live table the steps it had, up to the step `before`, which and what follows it runs
-- again; null: all.
create function asyncjobs.unfold_steps(job uuid, steps text, before text default null) returns void
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  insert into asyncjobs.step
  select unfold_steps.job, kept.n, kept.name, kept.state, kept.attempt, kept.started_at, kept.finished_at, kept.wakes_at,
         kept.event, kept.key, kept.result, kept.cursor, kept.error
  from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json) as kept
  where unfold_steps.before is null
     or kept.n < (select min(n) from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json)
                  where name = unfold_steps.before)
$$;

-- The lock that settles a wait against an emit of the same event.
create function asyncjobs.lock_event(name text, key text) returns void
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select pg_advisory_xact_lock(hashtextextended('asyncjobs.event ' || name || ' ' || key, 0))
$$;

-- Begin the wait of a running job for a time, an event, or whichever comes first; a wait that was begun is left as it is,
-- and ended when its time is over.
-- An event that was emitted before is taken now, the oldest first.
-- Rows: none when the fence is not the job's any more; else one, what is recorded by now, and the seconds that are left.
-- Two statements under the event's lock: what emit commits before is seen, and what it commits later sees this.
create function asyncjobs.begin_wait(
  id uuid, fence bigint, n integer, name text, event text, key text, seconds double precision, progress text
) returns table (state text, result text, remaining double precision)
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  until timestamptz := clock_timestamp() + make_interval(secs => begin_wait.seconds);
  held integer;
begin
  if begin_wait.event is not null then
    perform asyncjobs.lock_event(begin_wait.event, begin_wait.key);
  end if;
  update asyncjobs.job set progress = coalesce(begin_wait.progress, job.progress, '{}')
  where job.id = begin_wait.id and job.fence = begin_wait.fence
  returning job.attempt into held;
  if not found then
    return;
  end if;
  if not exists (select from asyncjobs.step where step.job = begin_wait.id and step.name = begin_wait.name) then
    with taken as (
      delete from asyncjobs.event
      where event.id = (select event.id from asyncjobs.event
                        where event.name = begin_wait.event and event.key = begin_wait.key order by event.id limit 1)
      returning event.id, payload
    )
    insert into asyncjobs.step (job, n, name, state, attempt, started_at, finished_at, wakes_at, event, key, result)
    select begin_wait.id, begin_wait.n, begin_wait.name,
           case when begin_wait.event is null then 'sleeping' when taken.id is null then 'waiting' else 'succeeded' end,
           held, clock_timestamp(), case when taken.id is not null then clock_timestamp() end, until, begin_wait.event,
           begin_wait.key, taken.payload
    from (values (1)) as one left join taken on true;
  end if;
  update asyncjobs.step
  set state = case when state = 'sleeping' then 'succeeded' else 'timed_out' end, finished_at = clock_timestamp()
  where step.job = begin_wait.id and step.name = begin_wait.name and state in ('sleeping', 'waiting')
    and wakes_at <= clock_timestamp();
  return query
    select step.state, step.result, extract(epoch from step.wakes_at - clock_timestamp())::double precision
    from asyncjobs.step where step.job = begin_wait.id and step.name = begin_wait.name;
end
$$;

-- Emit an event from any language:  select asyncjobs.emit('approved', key => '42', payload => '{"by": "kim"}')
-- Every job that waits for it goes on; when none does, it is kept for the first that will.
-- Returns how many jobs wait no more. In a transaction the event exists if and only if that commits.
-- Locks: the event's, then the jobs in the order of their ids. A job that has begun its wait and is not parked yet is marked
-- as woken, which its parking sees: it waits for the row's lock, and its own snapshot of the steps may be older than this.
create function asyncjobs.emit(name text, key text default '', payload json default null) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  waiting uuid[];
  woken integer;
  told integer;
begin
  if emit.name is null or length(emit.name) not between 1 and 200 then
    raise exception 'name must have 1 to 200 characters' using errcode = '22023';
  elsif emit.key is null or length(emit.key) > 200 then
    raise exception 'key must have at most 200 characters' using errcode = '22023';
  end if;
  perform asyncjobs.lock_event(emit.name, emit.key);
  select array_agg(step.job) into waiting from asyncjobs.step
  where step.state = 'waiting' and step.event = emit.name and step.key = emit.key;
  perform from asyncjobs.job where job.id = any(waiting) order by job.id for no key update;
  update asyncjobs.step set state = 'succeeded', finished_at = clock_timestamp(), result = emit.payload::text
  where step.job = any(waiting) and step.state = 'waiting' and step.event = emit.name and step.key = emit.key;
  get diagnostics woken = row_count;
  if woken = 0 then
    insert into asyncjobs.event (name, key, payload) values (emit.name, emit.key, emit.payload::text);
    return 0;
  end if;
  with again as (
    update asyncjobs.job
    set state = case when state = 3 then 1 else state end, woken = state = 2,
        seq = case when state = 3 then nextval('asyncjobs.ready_seq') else seq end,
        run_at = case when state = 3 then clock_timestamp() else run_at end
    where job.id = any(waiting)
    returning job.queue, job.seq, job.state
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from again where state = 1 group by queue
  )
  select count(*) into told from told;
  return woken;
end
$$;

-- Insert a job that has begun elsewhere, with what it has recorded.
create function asyncjobs.adopt(
  id uuid, kind text, queue text, priority integer, args text, progress text, steps text
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if asyncjobs.enqueue_once(adopt.id, adopt.kind, adopt.queue, adopt.priority, null, 0, adopt.args) then
    update asyncjobs.job set progress = coalesce(adopt.progress, '{}') where job.id = adopt.id;
    perform asyncjobs.unfold_steps(adopt.id, adopt.steps);
  end if;
end
$$;

-- Cancel a job:  select asyncjobs.cancel('0190…', reason => 'no longer needed')
-- Returns 'cancelled' (it had not begun), 'cancelling' (it runs; its worker was told), 'final' (it had ended already), or null
-- (there is no such job). `days` is how long it is kept.
-- Security definer: an enqueuer has no right to remove jobs.
create function asyncjobs.cancel(id uuid, reason text default '', days integer default 7) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  found_state smallint;
begin
  -- The row lock settles the race against a claim, a finish and another cancel: whoever comes second sees what was done.
  select job.state into found_state from asyncjobs.job where job.id = cancel.id for no key update;
  if not found then
    return (select 'final' where exists (select from asyncjobs.finished where finished.id = cancel.id));
  end if;
  if found_state = 2 then
    update asyncjobs.job set cancel_reason = coalesce(cancel_reason, cancel.reason, '') where job.id = cancel.id;
    perform pg_notify('asyncjobs_cancel', cancel.id::text);
    return 'cancelling';
  end if;
  if not exists (select from pg_class where oid = to_regclass(
      'asyncjobs.finished_' || to_char(asyncjobs.expires_on(cancel.days), 'YYYYMMDD'))) then
    perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + cancel.days + 1);
  end if;
  with gone as (delete from asyncjobs.job where job.id = cancel.id returning job.*),
  moved as (
    insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                    crashes, kind, queue, args, errors, reason, progress, steps)
    select gone.id, fence, asyncjobs.expires_on(cancel.days), enqueued_at, started_at, clock_timestamp(), attempt, priority, 7,
           crashes, kind, queue, args, errors, coalesce(cancel.reason, ''), progress,
           case when progress is not null then asyncjobs.fold_steps(gone.id) end
    from gone
  )
  select count(pg_notify('asyncjobs_done', gone.id::text)) from gone where awaited into found_state;
  return 'cancelled';
end
$$;

-- Make jobs ready again that have failed, were discarded or cancelled, and those that wait for their retry:
-- select * from asyncjobs.retry(array['0190…']::uuid[])
-- The row is moved back and keeps its id, its attempt and its errors; the counts of its declarations, its crashes and its expiry
-- are forgotten. Its steps are kept, unless it succeeded: then it begins anew; `from_step`: that one and those after it run
-- again. `forced`: those that succeeded too, and those scheduled for their first run. `fences`, one an id: only
-- jobs that have not been claimed since they were read with these; null: whichever.
-- Rows: one for each id that is there, in no order: whether it is ready by this call, and its state by now.
-- Security definer: nobody else may remove what is in the history.
-- Two steps: what a statement has waited for another to release, it may still see as it was before, and the next sees as it is.
create function asyncjobs.retry(
  ids uuid[], fences bigint[] default null, forced boolean default false, from_step text default null
) returns table (id uuid, done boolean, state smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
  perform from asyncjobs.job where job.id = any(retry.ids) and job.state = 0 order by job.id for no key update;
  perform from asyncjobs.finished where finished.id = any(retry.ids) order by finished.id for update;
  return query
  with given as materialized (
    select g.id, g.fence from unnest(retry.ids, retry.fences) as g(id, fence)
  ), sooner as (
    update asyncjobs.job
    set state = 1, seq = nextval('asyncjobs.ready_seq'), run_at = clock_timestamp()
    from given
    where job.id = given.id and job.state = 0 and (job.attempt > 0 or retry.forced)
      and job.fence = coalesce(given.fence, job.fence)
    returning job.id, job.queue, job.seq
  ), undone as (
    delete from asyncjobs.step using sooner
    where step.job = sooner.id
      and step.n >= (select target.n from asyncjobs.step as target
                     where target.job = sooner.id and target.name = retry.from_step)
  ), gone as (
    delete from asyncjobs.finished using given
    where finished.id = given.id and (finished.state > 4 or retry.forced)
      and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id)
    returning finished.*
  ), again as (
    insert into asyncjobs.job (id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors, progress)
    select gone.id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors,
           case when gone.state > 4 or retry.from_step is not null then progress end
    from gone order by gone.id
    returning job.id, job.queue, job.seq
  ), unfolded as (
    select asyncjobs.unfold_steps(gone.id, gone.steps, retry.from_step) from gone
    where gone.steps is not null and (gone.state > 4 or retry.from_step is not null)
  ), ready as (
    select sooner.id, queue, seq from sooner union all select again.id, queue, seq from again
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from ready group by queue
  ), counted as materialized (select count(*) + (select count(*) from unfolded) from told)
  select given.id, ready.id is not null,
         case when ready.id is not null then 1::smallint else coalesce(job.state, finished.state) end
  from counted, given
  left join ready on ready.id = given.id
  left join asyncjobs.job on job.id = given.id
  left join asyncjobs.finished on finished.id = given.id and job.id is null
  where ready.id is not null or job.id is not null or finished.id is not null;
end
$$;

-- Discard jobs that do not run: those that are ready, scheduled or waiting, and those that have failed:
-- select * from asyncjobs.discard(array['0190…']::uuid[], reason => 'the customer is gone')
-- `fences` as in asyncjobs.retry; `days` is how long a live one is kept.
-- Rows: one for each id that is there, in no order: whether it is discarded by this call, and its state by now.
-- Security definer: the history is nobody's to change. Two steps: see asyncjobs.retry.
create function asyncjobs.discard(
  ids uuid[], fences bigint[] default null, reason text default '', days integer default 7
) returns table (id uuid, done boolean, state smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
  if not exists (select from pg_class where oid = to_regclass(
      'asyncjobs.finished_' || to_char(asyncjobs.expires_on(discard.days), 'YYYYMMDD'))) then
    perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + discard.days + 1);
  end if;
  perform from asyncjobs.job where job.id = any(discard.ids) and job.state <> 2 order by job.id for update;
  perform from asyncjobs.finished where finished.id = any(discard.ids) and finished.state = 5 order by finished.id for update;
  return query
  with given as materialized (
    select g.id, g.fence from unnest(discard.ids, discard.fences) as g(id, fence)
  ), gone as (
    delete from asyncjobs.job using given
    where job.id = given.id and job.state <> 2 and job.fence = coalesce(given.fence, job.fence)
    returning job.*
  ), moved as (
    insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                    crashes, kind, queue, args, errors, reason, progress, steps)
    select gone.id, fence, asyncjobs.expires_on(discard.days), enqueued_at, started_at, clock_timestamp(), attempt, priority,
           6, crashes, kind, queue, args, errors, coalesce(discard.reason, ''), progress,
           case when progress is not null then asyncjobs.fold_steps(gone.id) end
    from gone
  ), judged as (
    update asyncjobs.finished
    set state = 6, reason = coalesce(discard.reason, '')
    from given
    where finished.id = given.id and finished.state = 5 and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id)
    returning finished.id
  ), told as (
    select pg_notify('asyncjobs_done', string_agg(awaited.id::text, ','))
    from (select gone.id, row_number() over () / 200 as part from gone where awaited) as awaited    -- a notice holds 8,000 bytes
    group by part
  ), counted as materialized (select count(*) from told),
  discarded as (select gone.id from gone union all select judged.id from judged)
  select given.id, discarded.id is not null,
         case when discarded.id is not null then 6::smallint else coalesce(job.state, finished.state) end
  from counted, given
  left join discarded on discarded.id = given.id
  left join asyncjobs.job on job.id = given.id
  left join asyncjobs.finished on finished.id = given.id and job.id is null
  where discarded.id is not null or job.id is not null or finished.id is not null;
end
$$;
