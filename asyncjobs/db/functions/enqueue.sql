-- Enqueue from any language:  select asyncjobs.enqueue(kind => 'app.jobs.send_welcome', args => '{"user_id": 42}')
-- Returns the job's id: with unique_key that of the live job that has this key, if there is one, and then nothing is made.
-- meta: a JSON object of texts; searchable: the names of the arguments by which the job can be found, as its definition has them.
-- In a transaction the job exists if and only if that commits. max_depth is a setting of clients, and bounds nothing here: ask
-- asyncjobs.depth first.
-- Locks: the new row.
create or replace function asyncjobs.enqueue(
  kind text, args json default '{}', queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null, unique_key text default null, meta jsonb default null,
  tags text[] default null, searchable text[] default null
) returns uuid
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  job_id uuid := enqueue.id;
  given_order text;
begin
  if json_typeof(enqueue.args) is distinct from 'object' then
    raise exception 'args must be a JSON object of the job''s arguments by name, not %',
                    coalesce(json_typeof(enqueue.args), 'null') using errcode = '22023';
  end if;
  perform asyncjobs.check_readable(enqueue.args::text, 'args');
  given_order := json_strip_nulls(json_build_object(
    'unique', case when enqueue.unique_key is not null then json_build_object('key', enqueue.unique_key) end,
    'labels', asyncjobs.labels(enqueue.meta, enqueue.tags),
    'searchable', asyncjobs.searchable(enqueue.args, enqueue.searchable)))::text;
  if given_order <> '{}' then
    if enqueue.id is not null then
      perform asyncjobs.check_seen(enqueue.id);
    end if;
    select made.id into job_id
    from asyncjobs.enqueue_ordered(
      array[coalesce(job_id, asyncjobs.new_id())], array[enqueue.kind], array[enqueue.queue], array[enqueue.priority],
      array[enqueue.args::text], array[enqueue.run_at], array[null::double precision], array[null::double precision],
      array[given_order]) as made;
  elsif job_id is null then
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

-- The same with jsonb and with text. A literal is text: of several functions PostgreSQL takes the one with that.
create or replace function asyncjobs.enqueue(
  kind text, args jsonb, queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null, unique_key text default null, meta jsonb default null,
  tags text[] default null, searchable text[] default null
) returns uuid
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select asyncjobs.enqueue(enqueue.kind, enqueue.args::text::json, enqueue.queue, enqueue.priority, enqueue.run_at, enqueue.id, enqueue.unique_key,
                           enqueue.meta, enqueue.tags, enqueue.searchable)
$$;

create or replace function asyncjobs.enqueue(
  kind text, args text, queue text default 'default', priority integer default 0,
  run_at timestamptz default null, id uuid default null, unique_key text default null, meta jsonb default null,
  tags text[] default null, searchable text[] default null
) returns uuid
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select asyncjobs.enqueue(enqueue.kind, asyncjobs.as_json(enqueue.args, 'args'), enqueue.queue, enqueue.priority,
                           enqueue.run_at, enqueue.id, enqueue.unique_key,
                           enqueue.meta, enqueue.tags, enqueue.searchable)
$$;
