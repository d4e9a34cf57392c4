-- Store a batch and its parts; their jobs follow in the same transaction, so that it exists as a whole or not at all.
-- given: a JSON array of objects: id, parent, description, and the texts on_discard, on_finish, on_success.
-- Returns whether they were made; false: they exist with all of their jobs, by an earlier call.
-- Security definer: an enqueuer has no right on the tables.
-- Locks: the new rows; waits for another transaction that stores the same batch. For a moment what enqueueing the callbacks locks.
create or replace function asyncjobs.begin_batch(given text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  made integer;
  kept text;
begin
  -- What is enqueued later, by a worker, is whoever's this is to enqueue now.
  perform asyncjobs.check_jobs(row.kind, row.queue, row.priority, octet_length(row.args), row.run_at, row.run_at)
  from json_to_recordset(begin_batch.given::json) as one(on_discard text, on_finish text, on_success text)
  cross join lateral (values (one.on_discard), (one.on_finish), (one.on_success)) as kept(text)
  cross join lateral json_to_recordset(kept.text::json)
    as row(kind text, queue text, priority integer, args text, run_at timestamptz);
  -- What would be refused then would keep the batch open for ever, and be tried again and again: so it is tried now.
  for kept in
    select k.text
    from json_to_recordset(begin_batch.given::json) as one(on_discard text, on_finish text, on_success text)
    cross join lateral (values (one.on_discard), (one.on_finish), (one.on_success)) as k(text)
    where k.text is not null
  loop
    begin
      perform asyncjobs.enqueue_given(kept);
      raise exception 'it is taken back' using errcode = 'AJ001';
    exception when sqlstate 'AJ001' then
      null;
    end;
  end loop;
  insert into asyncjobs.batch (id, parent, description, on_discard, on_finish, on_success)
  select one.id, one.parent, left(one.description, 1000), one.on_discard, one.on_finish, one.on_success
  from json_to_recordset(begin_batch.given::json)
    as one(id uuid, parent uuid, description text, on_discard text, on_finish text, on_success text)
  order by one.id
  on conflict do nothing;
  get diagnostics made = row_count;
  return made > 0;
end
$$;
