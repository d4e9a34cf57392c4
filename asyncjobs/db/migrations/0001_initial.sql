-- The schema of asyncjobs. Only core PostgreSQL (13 and later); no extensions.
--
-- job       live jobs only, so that it stays small however long the history is
-- finished  final jobs, partitioned by the day they may go, so that history is dropped and never vacuumed
-- worker    one row a running process: its lease
--
-- States: 0 scheduled, 1 ready, 2 running, 3 waiting; 4 succeeded, 5 failed, 6 discarded, 7 cancelled.
-- Arguments, results and errors are JSON text, not jsonb: one outcome that jsonb refuses would take its batch with it,
-- and text is 10 to 20 % faster.

create sequence asyncjobs.ready_seq;    -- cache 1: with more, sessions hand out blocks and the order is lost
create sequence asyncjobs.fence_seq;

create table asyncjobs.job (
  id uuid primary key,                                              -- made by the client; identity, never order
  seq bigint not null default nextval('asyncjobs.ready_seq'),       -- taken anew at each becoming ready
  fence bigint not null default 0,                                  -- taken in the claim; 0 when not running
  run_at timestamptz not null default clock_timestamp(),
  enqueued_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,                                           -- of the current attempt
  worker uuid,                                                      -- whose lease it runs under
  attempt integer not null default 0,
  priority smallint not null default 0,                             -- smaller runs first
  state smallint not null default 1,
  crashes smallint not null default 0,
  awaited boolean not null default false,                           -- somebody waits: tell them when it is final
  kind text not null,
  queue text not null default 'default',
  args text not null default '{}',
  errors text,                                                      -- one JSON object a line, oldest first
  -- One constraint, and short: PostgreSQL parses the stored text of each at every statement (4 to 5 us a term; seven of
  -- them cost a single-row insert a fifth). What SQL callers give is checked in asyncjobs.enqueue instead.
  constraint job_is_sane check (state between 0 and 3 and octet_length(args) <= 16777216)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 2000,
        autovacuum_analyze_scale_factor = 0.02);
create index job_for_claim on asyncjobs.job (queue, priority, seq) where state = 1;
create index job_for_promotion on asyncjobs.job (run_at) where state = 0;
create index job_for_rescue on asyncjobs.job (worker) where state = 2;

create table asyncjobs.finished (
  id uuid not null,
  fence bigint not null,                    -- of its last attempt: tells a repeated write from a lost lease
  expires_on date not null,                 -- the UTC day on which it may be dropped
  enqueued_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz not null default clock_timestamp(),
  attempt integer not null,
  priority smallint not null,
  state smallint not null,
  crashes smallint not null,
  kind text not null,
  queue text not null,
  args text not null,
  result text,
  errors text,
  reason text                               -- of discarded and cancelled
) partition by range (expires_on);
create index finished_by_id on asyncjobs.finished (id);

create table asyncjobs.worker (
  id uuid primary key,                      -- random at each boot: host names and pids come again
  backend_pid integer not null,             -- the keeper's own session, whose end says that the process is gone
  backend_start timestamptz,
  lease interval not null,
  started_at timestamptz not null default clock_timestamp(),
  beat_at timestamptz not null default clock_timestamp(),
  linked_at timestamptz not null default clock_timestamp(),   -- since when its link has been whole
  dead_at timestamptz,
  about text not null default '{}'          -- JSON: host, pid, version, pools
);

-- A UUIDv7: 48 bits of milliseconds, then random.
create function asyncjobs.new_id() returns uuid
language sql volatile parallel safe
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select (lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
          || '7' || substr(r, 14, 3) || substr(r, 17, 16))::uuid
  from (select replace(gen_random_uuid()::text, '-', '') as r) as random
$$;

-- Make partitions of finished for every day from today through `until`; beyond a month only for the last day of each month,
-- to which such a job's day is rounded up: a retention of ten years would be 3,650 partitions, more than PostgreSQL can lock
-- at once. Callable by workers, who own no table.
create function asyncjobs.make_partitions(until date) returns integer
language plpgsql security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '200ms'
as $$
declare
  today date := (clock_timestamp() at time zone 'UTC')::date;
  last date := least(make_partitions.until, today + 4000);
  day date;
  made integer := 0;
  name text;
begin
  -- Two janitors at once: one makes them, the other has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('asyncjobs.partitions')) then
    return 0;
  end if;
  for day in
    select generate_series(today::timestamp, least(last, today + 34)::timestamp, '1 day')::date
    union
    select (month + interval '1 month - 1 day')::date
    from generate_series(date_trunc('month', (today + 32)::timestamp), last::timestamp, '1 month') as month
    where last > today + 31
    order by 1
  loop
    name := 'finished_' || to_char(day, 'YYYYMMDD');
    if to_regclass('asyncjobs.' || name) is null then
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

-- Drop the partitions of finished whose day is over; returns how many. TRUNCATE first: it frees the space even when a
-- reader of the parent keeps the DROP from its lock, and it locks that one partition only.
create function asyncjobs.drop_expired() returns integer
language plpgsql security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '50ms'
as $$
declare
  today text := to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD');
  name text;
  dropped integer := 0;
  droppable boolean := true;
begin
  for name in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'asyncjobs.finished'::regclass and c.relname < 'finished_' || today
    order by c.relname
  loop
    -- A block of its own: what fails in a block takes back all that the block did.
    begin
      execute format('truncate asyncjobs.%I', name);
    exception when lock_not_available then
      return dropped;                       -- somebody reads it; the next round tries again
    end;
    if droppable then
      begin
        execute format('drop table asyncjobs.%I', name);
        dropped := dropped + 1;
      exception when lock_not_available then
        droppable := false;                 -- somebody reads the parent, and will as long for the next ones
      end;
    end if;
  end loop;
  return dropped;
end
$$;

-- Enqueue one job whose id may be in the table, or finished, already. A resend and a caller's own id come here.
-- Two statements, two snapshots: in one, a job that finishes between the check and the insert would run twice.
-- Security definer: it removes a row of its own again, and an enqueuer has no right to remove jobs.
create function asyncjobs.enqueue_once(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  due timestamptz := coalesce(enqueue_once.run_at,
                              clock_timestamp() + make_interval(secs => coalesce(enqueue_once.delay, 0)));
  later boolean := due > clock_timestamp();
  inserted integer;
  removed integer;
begin
  if enqueue_once.kind is null or length(enqueue_once.kind) not between 1 and 200 then
    raise exception 'kind must have 1 to 200 characters' using errcode = '22023';
  elsif enqueue_once.queue is null or enqueue_once.queue !~ '^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,63}$' then
    raise exception 'queue must be 1 to 64 letters, digits and _ . : - , not beginning with -' using errcode = '22023';
  elsif due not between '1970-01-01 00:00+00' and '9000-01-01 00:00+00' then
    raise exception 'run_at must lie between the years 1970 and 9000' using errcode = '22023';
  end if;
  insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args)
  values (enqueue_once.id, enqueue_once.kind, enqueue_once.queue, enqueue_once.priority, due,
          case when later then 0 else 1 end, enqueue_once.args)
  on conflict do nothing;
  get diagnostics inserted = row_count;
  if inserted = 0 then
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
    -- 0: look at the whole queue. The same payload for every job of a transaction, so that they are told of once.
    perform pg_notify('asyncjobs_ready', '0 ' || enqueue_once.queue);
  end if;
  return true;
end
$$;

-- Enqueue from any language:  select asyncjobs.enqueue(kind => 'app.jobs.send_welcome', args => '{"user_id": 42}')
-- Returns the job's id. In a transaction the job exists if and only if that commits.
create function asyncjobs.enqueue(
  kind text, args json default '{}', queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null
) returns uuid
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  job_id uuid := coalesce(enqueue.id, asyncjobs.new_id());
begin
  if json_typeof(enqueue.args) is distinct from 'object' then
    raise exception 'args must be a JSON object of the job''s arguments by name, not %',
                    coalesce(json_typeof(enqueue.args), 'null') using errcode = '22023';
  end if;
  perform asyncjobs.enqueue_once(job_id, enqueue.kind, enqueue.queue, enqueue.priority, enqueue.run_at, 0,
                                 enqueue.args::text);
  return job_id;
end
$$;
