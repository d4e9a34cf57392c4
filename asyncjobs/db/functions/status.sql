-- What those may know of a job who enqueue, by its id: all but arguments, attributes and results.
-- Rows: none or one. The columns are those of read_status.sql.
-- Security definer: they may not read the rows.
create or replace function asyncjobs.status(id uuid) returns table (
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
