-- The steps of a job without their results and cursors, as a JSON array in their order, or null.
create or replace function asyncjobs.steps_shown(steps json) returns text
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select json_agg(json_build_object(
           'name', name, 'state', state, 'attempt', attempt, 'started_at', started_at, 'finished_at', finished_at,
           'wakes_at', wakes_at, 'event', event, 'key', key, 'result', null, 'cursor', null, 'error', error) order by n)::text
  from json_populate_recordset(null::asyncjobs.step, steps_shown.steps)
$$;
