-- Who may do what: enqueuers get at jobs through functions only, which look at what they give; and what publications need.

-- Kinds that a login may enqueue. A login without a row here may enqueue every kind. It holds for those who enqueue by the
-- functions, as the role asyncjobs_enqueuer does; whoever may write the tables writes what he likes.
create table asyncjobs.allowed_kind (
  login name not null,
  kind text not null,
  primary key (login, kind)
);

-- Events come in by asyncjobs.emit; the same limits for whoever may write the table. (The table of jobs has no such check of
-- kinds and queues: PostgreSQL parses it at every statement, see 0001.)
alter table asyncjobs.event add constraint event_is_sane
  check (length(name) <= 200 and length(key) <= 200 and octet_length(payload) <= 16777216) not valid;

-- A published table takes no update and no delete without one; both are rare in the history: what is done by hand.
alter table asyncjobs.finished replica identity full;
do $$
declare
  part regclass;
begin
  for part in select inhrelid::regclass from pg_catalog.pg_inherits where inhparent = 'asyncjobs.finished'::regclass loop
    execute format('alter table %s replica identity full', part);
  end loop;
end
$$;

-- Makes partitions of finished for every day from today through `until`, as before, and each with a replica identity. Whoever makes
-- some locks the table of migrations, which takes a right on it: an advisory lock is anybody's.
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

-- Refuse what no job may be, for jobs of one kind, queue and priority, and kinds that the login may not enqueue, by name.
-- `size` is that of the largest arguments in bytes, `earliest` and `latest` are when they are due.
create function asyncjobs.check_jobs(
  kind text, queue text, priority integer, size integer, earliest timestamptz, latest timestamptz
) returns void
language plpgsql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
begin
  if check_jobs.kind is null or length(check_jobs.kind) not between 1 and 200 then
    raise exception 'kind must have 1 to 200 characters' using errcode = '22023';
  elsif check_jobs.queue is null or check_jobs.queue !~ '^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,63}$' then
    raise exception 'queue must be 1 to 64 letters, digits and _ . : - , not beginning with -' using errcode = '22023';
  elsif check_jobs.priority is null or check_jobs.priority not between -32768 and 32767 then
    raise exception 'priority must be a whole number from -32768 to 32767, not %; smaller runs first',
                    coalesce(check_jobs.priority::text, 'null') using errcode = '22023';
  elsif check_jobs.size is null or check_jobs.size > 16777216 then
    raise exception 'args must have at most 16777216 bytes of JSON, not %: store what is large elsewhere, and give its key',
                    coalesce(check_jobs.size::text, 'null') using errcode = '22023';
  elsif check_jobs.earliest < '1970-01-01 00:00+00' or check_jobs.latest > '9000-01-01 00:00+00' then
    raise exception 'run_at must lie between the years 1970 and 9000' using errcode = '22023';
  elsif exists (select from asyncjobs.allowed_kind where login = session_user)
        and not exists (select from asyncjobs.allowed_kind where login = session_user and kind = check_jobs.kind) then
    raise exception 'login % may not enqueue %: the kinds that it may are in asyncjobs.allowed_kind', session_user,
                    check_jobs.kind using errcode = '42501', schema = 'asyncjobs', table = 'allowed_kind';
  end if;
end
$$;

-- As in 0002, and what no job may be is refused by check_jobs.
create or replace function asyncjobs.enqueue_once(
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
  perform asyncjobs.check_jobs(enqueue_once.kind, enqueue_once.queue, enqueue_once.priority,
                               octet_length(enqueue_once.args), due, due);
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

-- Enqueue one job whose id was enqueued before, or may have been.
-- Above READ COMMITTED a statement sees what there was when the transaction began: a job that is not there may have been
-- enqueued and finished since, and would run twice.
create function asyncjobs.enqueue_again(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  level text := current_setting('transaction_isolation');
begin
  if level in ('repeatable read', 'serializable') then
    if exists (select from asyncjobs.job where job.id = enqueue_again.id)
       or exists (select from asyncjobs.finished where finished.id = enqueue_again.id) then
      return false;
    end if;
    raise exception 'id % was enqueued before or is your own, and in a % transaction nobody can see whether its job has '
                    'finished since that began: enqueue it in a READ COMMITTED transaction', enqueue_again.id, upper(level)
      using errcode = '40001';
  end if;
  return asyncjobs.enqueue_once(enqueue_again.id, enqueue_again.kind, enqueue_again.queue, enqueue_again.priority,
                                enqueue_again.run_at, enqueue_again.delay, enqueue_again.args, enqueue_again.expires_in);
end
$$;

-- Enqueue from any language:  select asyncjobs.enqueue(kind => 'app.jobs.send_welcome', args => '{"user_id": 42}')
-- Returns the job's id. In a transaction the job exists if and only if that commits.
create or replace function asyncjobs.enqueue(
  kind text, args json default '{}', queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null
) returns uuid
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  job_id uuid := enqueue.id;
begin
  if json_typeof(enqueue.args) is distinct from 'object' then
    raise exception 'args must be a JSON object of the job''s arguments by name, not %',
                    coalesce(json_typeof(enqueue.args), 'null') using errcode = '22023';
  end if;
  perform asyncjobs.check_readable(enqueue.args::text, 'args');
  if job_id is null then
    job_id := asyncjobs.new_id();
    perform asyncjobs.enqueue_once(job_id, enqueue.kind, enqueue.queue, enqueue.priority, enqueue.run_at, 0,
                                   enqueue.args::text);
  else
    perform asyncjobs.enqueue_again(job_id, enqueue.kind, enqueue.queue, enqueue.priority, enqueue.run_at, 0,
                                    enqueue.args::text);
  end if;
  return job_id;
end
$$;

-- Enqueue one job that is due now and whose id is new, for those who may not write the table. `quietly`: wake nobody.
-- Fails when the id is there already.
create function asyncjobs.enqueue_row(id uuid, kind text, queue text, priority smallint, args text, quietly boolean) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  made bigint;
begin
  perform asyncjobs.check_jobs(enqueue_row.kind, enqueue_row.queue, enqueue_row.priority, octet_length(enqueue_row.args), null, null);
  insert into asyncjobs.job (id, kind, queue, priority, args)
  values (enqueue_row.id, enqueue_row.kind, enqueue_row.queue, enqueue_row.priority, enqueue_row.args)
  returning seq into made;
  if not enqueue_row.quietly then
    perform pg_notify('asyncjobs_ready', made || ' ' || enqueue_row.queue);
  end if;
end
$$;

-- Enqueue jobs whose ids are new, for those who may not write the table: what enqueue_many.sql does, and its parameters.
-- Returns how many were made. Fails when an id is there already.
create function asyncjobs.enqueue_rows(
  ids uuid[], args text[], kinds text[], queues text[], priorities smallint[], run_at timestamptz[], delays double precision[],
  kind text, queue text, priority smallint, expires_in double precision[]
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  now timestamptz := clock_timestamp();
  made integer;
  told integer;
begin
  perform asyncjobs.check_jobs(g.kind, g.queue, g.priority, max(octet_length(g.args)), min(g.run_at), max(g.run_at))
  from (
    select coalesce(g.kind, enqueue_rows.kind) as kind, coalesce(g.queue, enqueue_rows.queue) as queue,
           coalesce(g.priority, enqueue_rows.priority) as priority, g.args, g.run_at
    from unnest(enqueue_rows.kinds, enqueue_rows.queues, enqueue_rows.priorities, enqueue_rows.args, enqueue_rows.run_at)
         as g(kind, queue, priority, args, run_at)
  ) as g
  group by g.kind, g.queue, g.priority;
  with given as materialized (
    select g.id, g.args, coalesce(g.kind, enqueue_rows.kind) as kind, coalesce(g.queue, enqueue_rows.queue) as queue,
           coalesce(g.priority, enqueue_rows.priority) as priority, g.expires_in,
           coalesce(g.run_at, now + make_interval(secs => coalesce(g.delay, 0))) as due
    from unnest(enqueue_rows.ids, enqueue_rows.args, enqueue_rows.kinds, enqueue_rows.queues, enqueue_rows.priorities,
                enqueue_rows.run_at, enqueue_rows.delays, enqueue_rows.expires_in)
         as g(id, args, kind, queue, priority, run_at, delay, expires_in)
  ), made as (
    insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at)
    select id, kind, queue, priority, due, case when due > now then 0 else 1 end, args,
           due + make_interval(secs => expires_in)
    from given
    returning queue, seq, state, run_at
  ), ready as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || queue) from made
    where state = 1 group by queue
  ), due as (
    select pg_notify('asyncjobs_due', '') from made
    where state = 0 and run_at < clock_timestamp() + interval '2 seconds' limit 1
  )
  select (select count(*) from made), (select count(*) from ready) + (select count(*) from due) into made, told;
  return made;
end
$$;

-- Refuse more ids than anybody asks for at once.
create function asyncjobs.check_ids(ids uuid[]) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if cardinality(ids) > 10000 then
    raise exception 'ids must be at most 10000 at once, not %', cardinality(ids) using errcode = '22023';
  end if;
end
$$;

-- For those who may not read the tables: what await_jobs.sql, read_live.sql, read_finished.sql and read_states.sql do, by ids
-- that the caller gives.
create function asyncjobs.await_jobs(ids uuid[]) returns setof uuid
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(await_jobs.ids);
  return query
  with quick as materialized (select set_config('synchronous_commit', 'off', true)),
  given as materialized (select id from quick, unnest(await_jobs.ids) as g(id) order by id),
  flagged as (
    update asyncjobs.job set awaited = true from given where job.id = given.id
    returning job.id, job.state, job.queue, job.seq
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from flagged where state = 1 group by queue
  ), counted as (select count(*) from told)
  select flagged.id from flagged, counted;
end
$$;

create function asyncjobs.live(ids uuid[]) returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(live.ids);
  return query select job.id from unnest(live.ids) as given(id) join asyncjobs.job on job.id = given.id;
end
$$;

create function asyncjobs.ended(ids uuid[]) returns table (
  id uuid, state smallint, kind text, result text, errors text, reason text
)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(ended.ids);
  return query
  select finished.id, finished.state, finished.kind, finished.result, finished.errors, finished.reason
  from unnest(ended.ids) as given(id) join asyncjobs.finished on finished.id = given.id;
end
$$;

create function asyncjobs.states(ids uuid[]) returns table (id uuid, state smallint, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(states.ids);
  return query
  select found.id, found.state, found.reason
  from unnest(states.ids) as given(id)
  cross join lateral (
    select job.id, job.state, null::text as reason from asyncjobs.job where job.id = given.id
    union all
    select finished.id, finished.state, finished.reason from asyncjobs.finished where finished.id = given.id
    limit 1
  ) as found;
end
$$;

-- As in 0004, and more than 16 MiB are refused.
create or replace function asyncjobs.check_readable(given text, what text) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  deep boolean := length(given) - length(translate(given, '[{', '')) > 200;
  number text;
begin
  if octet_length(given) > 16777216 then
    raise exception '% must have at most 16777216 bytes of JSON, not %: store what is large elsewhere, and give its key',
                    what, octet_length(given) using errcode = '22023';
  end if;
  if given ~ '[0-9]{17}|[0-9][eE]' then
    for number in
      select (regexp_matches(regexp_replace(given, '"(\\.|[^"\\])*"', '""', 'g'),
                             '-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?', 'g'))[1]
    loop
      if number !~ '^-?[0-9]+$' then
        begin
          perform number::double precision;
        exception when numeric_value_out_of_range then
          raise exception '% holds the number %, which no float holds: give it as text', what, left(number, 40)
            using errcode = '22023';
        end;
      elsif length(number) > 20 or number::numeric not between -9223372036854775808 and 18446744073709551615 then
        raise exception '% holds the integer %, which is past 64 bits: give it as text', what, left(number, 40)
          using errcode = '22023';
      end if;
    end loop;
  end if;
  if deep or given ~ '\\u(0000|[dD][89a-fA-F])' then
    begin
      deep := jsonb_path_exists(given::jsonb, 'strict $.**{201}');
    exception
      when untranslatable_character or invalid_text_representation then
        raise exception '% holds a NUL or half of a surrogate pair: leave it out', what using errcode = '22023';
      when statement_too_complex then
        deep := true;
    end;
    if deep then
      raise exception '% is nested deeper than 200 levels: give a flatter value', what using errcode = '22023';
    end if;
  end if;
end
$$;

-- Insert a job that has begun elsewhere, with what it has recorded.
create or replace function asyncjobs.adopt(
  id uuid, kind text, queue text, priority integer, args text, progress text, steps text
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_readable(adopt.progress, 'progress');
  if octet_length(adopt.steps) > 67108864 then
    raise exception 'steps must have at most 67108864 bytes of JSON, not %', octet_length(adopt.steps) using errcode = '22023';
  elsif json_typeof(adopt.steps::json) <> 'array' or json_array_length(adopt.steps::json) > 10000 then
    raise exception 'steps must be a JSON array of at most 10000' using errcode = '22023';
  elsif exists (select from json_populate_recordset(null::asyncjobs.step, adopt.steps::json) as given
                where length(given.name) not between 1 and 401) then
    raise exception 'the name of a step must have 1 to 401 characters' using errcode = '22023';
  end if;
  if asyncjobs.enqueue_once(adopt.id, adopt.kind, adopt.queue, adopt.priority, null, 0, adopt.args) then
    update asyncjobs.job set progress = coalesce(adopt.progress, '{}') where job.id = adopt.id;
    perform asyncjobs.unfold_steps(adopt.id, adopt.steps);
  end if;
end
$$;

-- Cancel a job:  select asyncjobs.cancel('0190…', reason => 'no longer needed')
-- and the jobs that a step of it runs, unless that says `detached`, and theirs, and so on.
-- Returns 'cancelled' (it had not begun), 'cancelling' (it runs; its worker was told), 'final' (it had ended already), or null
-- (there is no such job). `days` is how long what is cancelled now is kept: for logins that may not make partitions, from 1 to 366.
-- Security definer: an enqueuer has no right to remove jobs.
-- Locks: the job, then its children in the order of their ids, then theirs. What they run is read under their own locks, which
-- recording a step takes too: what is recorded later, its worker cancels, which finds the job cancelled.
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
          'asyncjobs.finished_' || to_char(asyncjobs.expires_on(kept), 'YYYYMMDD'))) then
      perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + kept + 1);
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
      select gone.id, fence, asyncjobs.expires_on(kept), enqueued_at, started_at, clock_timestamp(), attempt, priority,
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

-- Functions are nobody's but the owner's unless they are granted; `asyncjobs db migrate` takes from PUBLIC what it may execute.
-- Where the roles of `asyncjobs db sql --roles` are in use, these functions are theirs at once. What steps of a job have done
-- is the worker's to say.
do $$
begin
  if exists (select from pg_roles where rolname = 'asyncjobs_enqueuer')
     and has_schema_privilege('asyncjobs_enqueuer', 'asyncjobs', 'usage') then
    grant execute on function
      asyncjobs.enqueue_again(uuid, text, text, integer, timestamptz, double precision, text, double precision),
      asyncjobs.enqueue_rows(uuid[], text[], text[], text[], smallint[], timestamptz[], double precision[], text, text, smallint,
                             double precision[]),
      asyncjobs.enqueue_row(uuid, text, text, smallint, text, boolean), asyncjobs.await_jobs(uuid[]), asyncjobs.live(uuid[]), asyncjobs.ended(uuid[]), asyncjobs.states(uuid[])
    to asyncjobs_enqueuer;
    revoke execute on function asyncjobs.adopt(uuid, text, text, integer, text, text, text) from asyncjobs_enqueuer;
  end if;
  if exists (select from pg_roles where rolname = 'asyncjobs_worker')
     and has_schema_privilege('asyncjobs_worker', 'asyncjobs', 'usage') then
    grant execute on all functions in schema asyncjobs to asyncjobs_worker;
  end if;
end
$$;
