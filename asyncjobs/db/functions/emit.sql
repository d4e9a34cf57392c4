-- Emit an event from any language:  select asyncjobs.emit('approved', key => 42, payload => '{"by": "kim"}')
-- Every job that waits for it goes on; if none does, it is kept for the first that will. A payload that no job could read is
-- refused. Returns how many waiting jobs it wakes. In a transaction the event exists if and only if that commits.
-- Locks: the event's, then the jobs in the order of their ids. A job that has begun its wait and is not parked yet is marked
-- as woken, which its parking sees: it waits for the row's lock, and its own snapshot of the steps may be older than this.
-- Two transactions that emit the same two events in opposite order deadlock: emit in the order of names and keys.
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

-- The same with jsonb and with text, and with keys of other types, which are taken as text. Without a key, a payload that is no
-- literal must be json: with more functions than these PostgreSQL could not tell which one is meant.
create or replace function asyncjobs.emit(name text, key text, payload jsonb) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key, emit.payload::text::json) $$;

create or replace function asyncjobs.emit(name text, key text, payload text) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key, asyncjobs.as_json(emit.payload, 'payload')) $$;

create or replace function asyncjobs.emit(name text, key anynonarray, payload json default null) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, emit.payload) $$;

create or replace function asyncjobs.emit(name text, key anynonarray, payload jsonb) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, emit.payload::text::json) $$;

create or replace function asyncjobs.emit(name text, key anynonarray, payload text) returns integer
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$ select asyncjobs.emit(emit.name, emit.key::text, asyncjobs.as_json(emit.payload, 'payload')) $$;
