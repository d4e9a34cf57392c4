-- One job by its id as an enqueuer may read it: without arguments, attributes and result.
-- Rows: none or one. The columns are those of read_status.sql.
-- Security definer: enqueuers may not read the rows.
create or replace function asyncjobs.status(id uuid) returns table (
  state smallint, kind text, queue text, priority smallint, attempt integer, crashes smallint, errors text,
  reason text, enqueued_at timestamptz, run_at timestamptz, started_at timestamptz, finished_at timestamptz, worker uuid,
  cancel_reason text, counts text, expires_at timestamptz, steps text, labels text[]
)
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select state, kind, queue, priority, attempt, crashes, errors, reason, enqueued_at, run_at, started_at, finished_at, worker,
         cancel_reason, counts, expires_at, asyncjobs.steps_shown(steps::json), labels
  from asyncjobs.job_status where job_status.id = status.id
  limit 1
$$;
