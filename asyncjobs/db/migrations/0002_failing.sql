-- What failing well needs: retries counted by declaration, expiry, cancellation of running jobs, suspects, and what a worker
-- tells of itself.

alter table asyncjobs.job
  add column expires_at timestamptz,        -- not started by then, it is discarded
  add column cancel_reason text,            -- asked to be cancelled while it ran; never started again
  add column counts text;                   -- JSON: how often each declaration has taken an error of this job
create index job_for_cancel on asyncjobs.job (worker) where state = 2 and cancel_reason is not null;
-- A job whose process died while it ran is a suspect until it is final, and is claimed by a statement of its own.
create index job_for_suspects on asyncjobs.job (queue, priority, seq) where state = 1 and crashes > 0;

alter table asyncjobs.worker
  add column host text not null default '',
  add column ended text,                    -- how its process ended, where that was seen: SIGKILL, code 1
  add column report text not null default '{}';    -- JSON: what goes on there, as of its last beat

-- Enqueue one job whose id may be in the table, or finished, already. A resend and a caller's own id come here.
-- Two statements, two snapshots: in one, a job that finishes between the check and the insert would run twice. (Under
-- REPEATABLE READ both see the transaction's one snapshot.)
-- Security definer: it removes a row of its own again, and an enqueuer has no right to remove jobs.
drop function asyncjobs.enqueue_once(uuid, text, text, integer, timestamptz, double precision, text);
create function asyncjobs.enqueue_once(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  due timestamptz := coalesce(enqueue_once.run_at,
                              clock_timestamp() + make_interval(secs => coalesce(enqueue_once.delay, 0)));
  later boolean := due > clock_timestamp();
  made bigint;
  removed integer;
begin
  if enqueue_once.kind is null or length(enqueue_once.kind) not between 1 and 200 then
    raise exception 'kind must have 1 to 200 characters' using errcode = '22023';
  elsif enqueue_once.queue is null or enqueue_once.queue !~ '^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,63}$' then
    raise exception 'queue must be 1 to 64 letters, digits and _ . : - , not beginning with -' using errcode = '22023';
  elsif due not between '1970-01-01 00:00+00' and '9000-01-01 00:00+00' then
    raise exception 'run_at must lie between the years 1970 and 9000' using errcode = '22023';
  end if;
  insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at)
  values (enqueue_once.id, enqueue_once.kind, enqueue_once.queue, enqueue_once.priority, due,
          case when later then 0 else 1 end, enqueue_once.args, due + make_interval(secs => enqueue_once.expires_in))
  on conflict do nothing
  returning job.seq into made;
  if made is null then
    return false;
  end if;
  delete from asyncjobs.job
  where job.id = enqueue_once.id
    and exists (select from asyncjobs.finished where finished.id = enqueue_once.id);
  get diagnostics removed = row_count;
  if removed > 0 then
    return false;
  end if;
  if later then
    if due < clock_timestamp() + interval '2 seconds' then
      perform pg_notify('asyncjobs_due', '');
    end if;
  else
    -- Rounded down: the jobs of a transaction mostly have the same payload, and are told of once.
    perform pg_notify('asyncjobs_ready', made / 1024 * 1024 || ' ' || enqueue_once.queue);
  end if;
  return true;
end
$$;

-- The day of `finished` on which a job that ends now may go, as finish.sql has it.
create function asyncjobs.expires_on(days integer) returns date
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select case when days <= 31 then (clock_timestamp() at time zone 'UTC')::date + days
              else (date_trunc('month', clock_timestamp() at time zone 'UTC' + make_interval(days => days))
                    + interval '1 month - 1 day')::date end
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
                                    crashes, kind, queue, args, errors, reason)
    select gone.id, fence, asyncjobs.expires_on(cancel.days), enqueued_at, started_at, clock_timestamp(), attempt, priority, 7,
           crashes, kind, queue, args, errors, coalesce(cancel.reason, '')
    from gone
  )
  select count(pg_notify('asyncjobs_done', gone.id::text)) from gone where awaited into found_state;
  return 'cancelled';
end
$$;

-- What is retried and discarded by hand is looked for in the order of the ids, among the few that did not succeed.
create index finished_unsucceeded on asyncjobs.finished (id) where state > 4;

-- Make jobs ready again that have failed, were discarded or cancelled, and those that wait for their retry:
-- select * from asyncjobs.retry(array['0190…']::uuid[])
-- The row is moved back and keeps its id, its attempt and its errors; the counts of its declarations, its crashes and its expiry
-- are forgotten. `forced`: those that succeeded too, and those scheduled for their first run. `fences`, one an id: only
-- jobs that have not been claimed since they were read with these; null: whichever.
-- Rows: one for each id that is there, in no order: whether it is ready by this call, and its state by now.
-- Security definer: nobody else may remove what is in the history.
-- Two steps: what a statement has waited for another to release, it may still see as it was before, and the next sees as it is.
create function asyncjobs.retry(ids uuid[], fences bigint[] default null, forced boolean default false)
returns table (id uuid, done boolean, state smallint)
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
  ), gone as (
    delete from asyncjobs.finished using given
    where finished.id = given.id and (finished.state > 4 or retry.forced)
      and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id)
    returning finished.*
  ), again as (
    insert into asyncjobs.job (id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors)
    select gone.id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors from gone order by gone.id
    returning job.id, job.queue, job.seq
  ), ready as (
    select sooner.id, queue, seq from sooner union all select again.id, queue, seq from again
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from ready group by queue
  ), counted as materialized (select count(*) from told)
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
                                    crashes, kind, queue, args, errors, reason)
    select gone.id, fence, asyncjobs.expires_on(discard.days), enqueued_at, started_at, clock_timestamp(), attempt, priority,
           6, crashes, kind, queue, args, errors, coalesce(discard.reason, '')
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
