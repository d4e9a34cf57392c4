-- Give a job that comes back to the live table its steps again, those before the step `before`, from which on steps run again;
-- null: all.
create or replace function asyncjobs.unfold_steps(job uuid, steps text, before text default null) returns void
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  insert into asyncjobs.step (job, n, name, state, attempt, started_at, finished_at, wakes_at, event, key, result, cursor, error,
                              children)
  select unfold_steps.job, kept.n, kept.name, kept.state, kept.attempt, kept.started_at, kept.finished_at, kept.wakes_at,
         kept.event, kept.key, kept.result, kept.cursor, kept.error, kept.children
  from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json) as kept
  where unfold_steps.before is null
     or kept.n < (select min(n) from json_populate_recordset(null::asyncjobs.step, unfold_steps.steps::json)
                  where name = unfold_steps.before)
$$;
