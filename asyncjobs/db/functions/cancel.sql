-- Cancel a job:  select asyncjobs.cancel('0190…', reason => 'no longer needed')
-- and the jobs that a step of it runs, unless that says `detached`, and theirs, and so on.
-- days: how long what is cancelled now is kept; for logins that may not make partitions, from 1 to 366.
-- Returns 'cancelled' (it had not begun), 'cancelling' (it runs; its worker was told), 'final' (it had ended already), or null
-- (there is no such job).
-- Security definer: an enqueuer has no right to remove jobs.
-- Locks: the job, then its children in the order of their ids, then theirs. What they run is read under their own locks, which
-- recording a step takes too: what is recorded later, its worker cancels, which finds the job cancelled. Before all of them
-- those of asyncjobs.make_room.
create or replace function asyncjobs.cancel(id uuid, reason text default '', days integer default 7) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  -- Neither gone the next day, nor in days far ahead: 155 partitions would be made for them.
  kept integer := case when has_function_privilege(session_user, 'asyncjobs.make_partitions(date)', 'execute')
                       then cancel.days else least(greatest(cancel.days, 1), 366) end;
  found_state smallint;
  level uuid[] := array[cancel.id];
  whys text[] := array[coalesce(cancel.reason, '')];
  seen uuid[] := level;
  below uuid[];
  below_whys text[];
  told integer;
begin
  if length(cancel.reason) > 1000 then
    raise exception 'reason must have at most 1000 characters, not %', length(cancel.reason) using errcode = '22023';
  elsif cancel.days is null or cancel.days not between 0 and 4000 then
    raise exception 'days must be from 0 to 4000, not %', coalesce(cancel.days::text, 'null') using errcode = '22023';
  end if;
  perform asyncjobs.make_room(kept);
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
      cross join lateral (
        select step.children from asyncjobs.step
        where step.job = job.id and step.state = 'running' and step.children is not null offset 0
      ) as step
      cross join lateral (
        select (one.value->>'id')::uuid as id from json_array_elements(step.children::json->'jobs') as one
        where step.children::json->>'detached' is distinct from 'true'
      ) as run
      where job.id = any(level) and not exists (select from unnest(seen) as known(id) where known.id = run.id)
    ) as child;
    perform from asyncjobs.move(level, whys, 7, kept);
    -- Their workers are told, and by no id of a job: every login may listen, and who has an id may cancel.
    with asked as (
      update asyncjobs.job set cancel_reason = coalesce(job.cancel_reason, g.why)
      from unnest(level, whys) as g(id, why)
      where job.id >= g.id and job.id <= g.id and job.state + 0 = 2
      returning job.worker
    )
    select count(pg_notify('asyncjobs_cancel', worker::text)) into told from (select distinct worker from asked) as running;
    exit when below is null;
    level := below;
    whys := below_whys;
    seen := seen || level;
    perform from asyncjobs.job where job.id = any(level) order by job.id for no key update;
  end loop;
  return case found_state when 2 then 'cancelling' else 'cancelled' end;
end
$$;
