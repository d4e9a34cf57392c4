-- What is recorded of the jobs that a step runs, what running jobs wait for in memory, and a cancel that reaches the children.

-- JSON of what a step runs, which tells such a step from others, whatever its state is (`running` until all have ended):
-- {"jobs": [{"id": …, "kind": …, "of": fingerprint of kind and arguments, "state": how it ended, "result": …}, …],
--  "enqueued": whether all were, "detached": whether they are left alone when the parent is cancelled,
--  "raised": the attempt in which the step has failed because some did not succeed}
alter table asyncjobs.step add column children text;

-- What a job waits for that awaits others; of any worth only while its fence is `waits_fence`, that is in this attempt.
alter table asyncjobs.job
  add column waits_fence bigint,
  add column waits_for uuid[],              -- as long as it takes
  add column waits_timed uuid[];            -- with a timeout, which ends every cycle by itself

-- As in 0003, and with the children.
create or replace function asyncjobs.unfold_steps(job uuid, steps text, before text default null) returns void
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  insert into asyncjobs.step
  select unfold_steps.job, kept.n, kept.name, kept.state, kept.attempt, kept.started_at, kept.finished_at, kept.wakes_at,
         kept.event, kept.key, kept.result, kept.cursor, kept.error, kept.children
  from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json) as kept
  where unfold_steps.before is null
     or kept.n < (select min(n) from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json)
                  where name = unfold_steps.before)
$$;

-- Cancel a job:  select asyncjobs.cancel('0190…', reason => 'no longer needed')
-- and the jobs that a step of it runs, unless that says `detached`, and theirs, and so on.
-- Returns 'cancelled' (it had not begun), 'cancelling' (it runs; its worker was told), 'final' (it had ended already), or null
-- (there is no such job). `days` is how long what is cancelled now is kept.
-- Security definer: an enqueuer has no right to remove jobs.
-- Locks: the job, then its children in the order of their ids, then theirs. What they run is read under their own locks, which
-- recording a step takes too: what is recorded later, its worker cancels, which finds the job cancelled.
create or replace function asyncjobs.cancel(id uuid, reason text default '', days integer default 7) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  found_state smallint;
  level uuid[] := array[cancel.id];
  whys text[] := array[coalesce(cancel.reason, '')];
  seen uuid[] := level;
  below uuid[];
  below_whys text[];
  told integer;
begin
  -- The row lock settles the race against a claim, a finish and another cancel: whoever comes second sees what was done.
  select job.state into found_state from asyncjobs.job where job.id = cancel.id for no key update;
  if not found then
    return (select 'final' where exists (select from asyncjobs.finished where finished.id = cancel.id));
  end if;
  loop
    select array_agg(child.id order by child.id), array_agg(child.why order by child.id) into below, below_whys
    from (
      select distinct on (run.id) run.id,
             'its parent ' || job.kind || ' ' || job.id || ' was cancelled' || coalesce(': ' || nullif(cancel.reason, ''), '')
               as why
      from asyncjobs.job
      join asyncjobs.step on step.job = job.id and step.state = 'running' and step.children is not null
      cross join lateral (
        select (one.value->>'id')::uuid as id from json_array_elements(step.children::json->'jobs') as one
        where step.children::json->>'detached' is distinct from 'true'
      ) as run
      where job.id = any(level) and not exists (select from unnest(seen) as known(id) where known.id = run.id)
    ) as child;
    if exists (select from asyncjobs.job where job.id = any(level) and job.state <> 2) and not exists (
        select from pg_class where oid = to_regclass(
          'asyncjobs.finished_' || to_char(asyncjobs.expires_on(cancel.days), 'YYYYMMDD'))) then
      perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + cancel.days + 1);
    end if;
    with given as materialized (
      select g.id, g.why from unnest(level, whys) as g(id, why)
    ), asked as (
      update asyncjobs.job set cancel_reason = coalesce(job.cancel_reason, given.why)
      from given where job.id = given.id and job.state = 2
      returning job.id
    ), gone as (
      delete from asyncjobs.job using given where job.id = given.id and job.state <> 2 returning job.*, given.why
    ), moved as (
      insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                      crashes, kind, queue, args, errors, reason, progress, steps)
      select gone.id, fence, asyncjobs.expires_on(cancel.days), enqueued_at, started_at, clock_timestamp(), attempt, priority,
             7, crashes, kind, queue, args, errors, gone.why, progress,
             case when progress is not null then asyncjobs.fold_steps(gone.id) end
      from gone
    ), ended as (
      select pg_notify('asyncjobs_done', string_agg(awaited.id::text, ','))
      from (select gone.id, row_number() over () / 200 as part from gone where awaited) as awaited  -- a notice holds 8,000 bytes
      group by part
    ), ending as (
      select pg_notify('asyncjobs_cancel', asked.id::text) from asked
    )
    select (select count(*) from ended) + (select count(*) from ending) into told;
    exit when below is null;
    level := below;
    whys := below_whys;
    seen := seen || level;
    perform from asyncjobs.job where job.id = any(level) order by job.id for no key update;
  end loop;
  return case found_state when 2 then 'cancelling' else 'cancelled' end;
end
$$;
