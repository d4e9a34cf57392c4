-- Insert a job that has begun elsewhere, with its attributes and the records of its steps.
-- labels, searchable: as in asyncjobs.job; progress: its attributes; steps: a JSON array of rows of asyncjobs.step. Nothing happens if the id exists, live or finished.
-- Locks: as asyncjobs.enqueue_once.
create or replace function asyncjobs.adopt(
  id uuid, kind text, queue text, priority integer, args text, progress text, steps text,
  labels text[] default null, searchable text[] default null
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
    perform asyncjobs.check_labels(adopt.labels, adopt.searchable);
    update asyncjobs.job
    set progress = coalesce(adopt.progress, '{}'), labels = adopt.labels, searchable = adopt.searchable
    where job.id = adopt.id;
    perform asyncjobs.unfold_steps(adopt.id, adopt.steps);
  end if;
end
$$;
