-- Locks of ours are locks on rows and tables of ours. An advisory lock can be taken by every login of the database, and what waits
-- for it waits for as long as that likes.

-- Who has emitted an event, and not committed yet, has locked it otherwise: his transaction is waited for.
lock table asyncjobs.event, asyncjobs.step in share row exclusive mode;

-- Empty: a row is here while the event it names is locked, and only for those that want the same lock. It needs no log.
create unlogged table asyncjobs.event_lock (
  name text not null,
  key text not null,
  primary key (name, key)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- The lock that settles a wait against an emit of the same event; until the end of the transaction.
-- A row that is inserted and removed keeps whoever inserts the same one waiting until it is known whether this commits, and is
-- gone by itself then.
-- Security definer: a role that works or emits needs no right on the table, and no other has one.
create or replace function asyncjobs.lock_event(name text, key text) returns void
language sql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  insert into asyncjobs.event_lock (name, key) values (lock_event.name, lock_event.key);
  delete from asyncjobs.event_lock where event_lock.name = lock_event.name and event_lock.key = lock_event.key;
$$;

-- A worker tries again when the event is locked, which a transaction that has emitted it and stays open keeps for long: the
-- session is that of all jobs' steps. It takes a millisecond when it is not.
alter function asyncjobs.begin_wait(uuid, bigint, integer, text, text, text, double precision, text)
  set lock_timeout = '5ms';

-- As retry and discard.
alter function asyncjobs.cancel(uuid, text, integer) set lock_timeout = '5s';

-- Make partitions of finished for every day from today through `until`; beyond a month only for the last day of each month,
-- to which such a job's day is rounded up: a retention of ten years would be 3,650 partitions, more than PostgreSQL can lock
-- at once. Callable by workers, who own no table. Returns how many were made.
-- Locks: asyncjobs.migration, which only an owner can, so that one makes them at a time; only when one is missing.
create or replace function asyncjobs.make_partitions(until date) returns integer
language plpgsql security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '200ms'
as $$
declare
  today date := (clock_timestamp() at time zone 'UTC')::date;
  last date := least(make_partitions.until, today + 4000);
  missing date[];
  day date;
  made integer := 0;
  name text;
begin
  select array_agg(wanted.day order by wanted.day) into missing
  from (
    select generate_series(today::timestamp, least(last, today + 34)::timestamp, '1 day')::date as day
    union
    select (month + interval '1 month - 1 day')::date
    from generate_series(date_trunc('month', (today + 32)::timestamp), last::timestamp, '1 month') as month
    where last > today + 31
  ) as wanted
  where to_regclass('asyncjobs.finished_' || to_char(wanted.day, 'YYYYMMDD')) is null;
  if missing is null then
    return 0;
  end if;
  lock table asyncjobs.migration in share row exclusive mode;
  foreach day in array missing loop
    name := 'finished_' || to_char(day, 'YYYYMMDD');
    if to_regclass('asyncjobs.' || name) is null then    -- perhaps made by whoever had the lock
      -- CREATE LIKE, then ATTACH: `partition of` would take an exclusive lock on the parent for the whole of it.
      execute format('create table asyncjobs.%I (like asyncjobs.finished including defaults)', name);
      execute format('create index on asyncjobs.%I (id)', name);
      execute format('alter table asyncjobs.%I add constraint day check (expires_on >= %L and expires_on < %L)',
                     name, day, day + 1);
      execute format('alter table asyncjobs.finished attach partition asyncjobs.%I for values from (%L) to (%L)',
                     name, day, day + 1);
      execute format('alter table asyncjobs.%I drop constraint day', name);
      made := made + 1;
    end if;
  end loop;
  return made;
end
$$;
