-- What callers of the SQL functions need: json, jsonb and text alike, keys of any type, refusals that name the argument and its
-- limit; and for those who may only enqueue, the status of a job.

-- Refuse JSON that a job could not read, or would read as another value: numbers past what a float or 64 bits hold, NUL, half
-- of a surrogate pair, and what is nested deeper than 200 levels. `what` is the argument's name.
-- Most texts hold nothing of that, and are told from the others by one look.
create function asyncjobs.check_readable(given text, what text) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  deep boolean := length(given) - length(translate(given, '[{', '')) > 200;
  number text;
begin
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

-- Return JSON text as json. `what` is the argument's name.
create function asyncjobs.as_json(given text, what text) returns json
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  return given::json;
exception
  when invalid_text_representation then
    raise exception '% is no JSON; text stands in double quotes in it', what using errcode = '22023';
  when statement_too_complex then
    raise exception '% is nested deeper than 200 levels: give a flatter value', what using errcode = '22023';
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
  job_id uuid := coalesce(enqueue.id, asyncjobs.new_id());
begin
  if json_typeof(enqueue.args) is distinct from 'object' then
    raise exception 'args must be a JSON object of the job''s arguments by name, not %',
                    coalesce(json_typeof(enqueue.args), 'null') using errcode = '22023';
  elsif enqueue.priority is null or enqueue.priority not between -32768 and 32767 then
    raise exception 'priority must be a whole number from -32768 to 32767, not %; smaller runs first',
                    coalesce(enqueue.priority::text, 'null') using errcode = '22023';
  end if;
  perform asyncjobs.check_readable(enqueue.args::text, 'args');
  perform asyncjobs.enqueue_once(job_id, enqueue.kind, enqueue.queue, enqueue.priority, enqueue.run_at, 0,
                                 enqueue.args::text);
  return job_id;
end
$$;

-- The same with jsonb and with text. A literal is text: of several functions PostgreSQL takes the one with that.
create function asyncjobs.enqueue(
  kind text, args jsonb, queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null
) returns uuid
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select asyncjobs.enqueue(enqueue.kind, enqueue.args::text::json, enqueue.queue, enqueue.priority, enqueue.run_at, enqueue.id)
$$;

create function asyncjobs.enqueue(
  kind text, args text, queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null
) returns uuid
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select asyncjobs.enqueue(enqueue.kind, asyncjobs.as_json(enqueue.args, 'args'), enqueue.queue, enqueue.priority,
                           enqueue.run_at, enqueue.id)
$$;

-- Emit an event from any language:  select asyncjobs.emit('approved', key => 42, payload => '{"by": "kim"}')
-- As before, and a payload that no job could read is refused.
create or replace function asyncjobs.emit(name text, key text default '', payload json default null) returns integer
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
  perform asyncjobs.check_readable(emit.payload::text, 'payload');
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

-- The same with jsonb and with text, and with keys of other types, which are taken as text. Where the key is left out, a payload
-- that is no literal must be json: with more functions than these PostgreSQL could not tell which is meant.
create function asyncjobs.emit(name text, key text, payload jsonb) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key, emit.payload::text::json) $$;

create function asyncjobs.emit(name text, key text, payload text) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key, asyncjobs.as_json(emit.payload, 'payload')) $$;

create function asyncjobs.emit(name text, key anynonarray, payload json default null) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, emit.payload) $$;

create function asyncjobs.emit(name text, key anynonarray, payload jsonb) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, emit.payload::text::json) $$;

create function asyncjobs.emit(name text, key anynonarray, payload text) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, asyncjobs.as_json(emit.payload, 'payload')) $$;

-- The steps of a job without what they returned and where their cursors stand, as a JSON array in their order, or null.
create function asyncjobs.steps_shown(steps json) returns text
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select json_agg(json_build_object(
           'name', name, 'state', state, 'attempt', attempt, 'started_at', started_at, 'finished_at', finished_at,
           'wakes_at', wakes_at, 'event', event, 'key', key, 'result', null, 'cursor', null, 'error', error) order by n)::text
  from json_populate_recordset(null::asyncjobs.step, steps_shown.steps)
$$;

-- What those may know of a job who enqueue, by its id: all but arguments, attributes and results.
-- Rows: none or one. The columns are those of read_status.sql.
-- Security definer: they may not read the rows.
create function asyncjobs.status(id uuid) returns table (
  state smallint, kind text, queue text, priority smallint, attempt integer, crashes smallint, errors text,
  reason text, enqueued_at timestamptz, run_at timestamptz, started_at timestamptz, finished_at timestamptz, worker uuid,
  cancel_reason text, counts text, expires_at timestamptz, steps text
)
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select job.state, job.kind, job.queue, job.priority, job.attempt, job.crashes, job.errors, null,
         job.enqueued_at, job.run_at, job.started_at, null, job.worker, job.cancel_reason, job.counts, job.expires_at,
         (select asyncjobs.steps_shown(json_agg(to_json(step))) from asyncjobs.step where step.job = job.id)
  from asyncjobs.job where job.id = status.id
  union all
  select finished.state, finished.kind, finished.queue, finished.priority, finished.attempt, finished.crashes,
         finished.errors, finished.reason, finished.enqueued_at, null, finished.started_at, finished.finished_at, null,
         null, null, null,
         asyncjobs.steps_shown(finished.steps::json)
  from asyncjobs.finished where finished.id = status.id
  limit 1
$$;

-- A function may be executed by everybody unless that is taken back. Where the roles of `asyncjobs db sql --roles` are in use,
-- these functions are the enqueuer's at once, and not only when that script is run again.
revoke execute on function asyncjobs.status(uuid) from public;
do $$
begin
  if exists (select from pg_roles where rolname = 'asyncjobs_enqueuer')
     and has_schema_privilege('asyncjobs_enqueuer', 'asyncjobs', 'usage') then
    grant execute on function
      asyncjobs.check_readable(text, text), asyncjobs.as_json(text, text),
      asyncjobs.enqueue(text, jsonb, text, integer, timestamptz, uuid),
      asyncjobs.enqueue(text, text, text, integer, timestamptz, uuid),
      asyncjobs.emit(text, text, jsonb), asyncjobs.emit(text, text, text),
      asyncjobs.emit(text, anynonarray, json), asyncjobs.emit(text, anynonarray, jsonb),
      asyncjobs.emit(text, anynonarray, text), asyncjobs.status(uuid)
    to asyncjobs_enqueuer;
  end if;
end
$$;
