-- Make partitions of finished for every day from today through `until`; beyond a month only for the last day of each month,
-- to which such a job's day is rounded up: a retention of ten years would be 3,650 partitions, more than PostgreSQL can lock
-- at once. Returns how many were made.
-- Security definer: workers own no table.
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
      execute format('alter table asyncjobs.%I replica identity full', name);
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
