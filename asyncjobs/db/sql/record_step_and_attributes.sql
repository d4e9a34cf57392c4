-- Record where a step of a running job stands, and the job's attributes; see record_step.sql for a step alone.
-- $1 id of the job  $2 fence  $3 number, $4 name and $5 state of the step  $6 result  $7 cursor  $8 error (JSON text)
-- $9 seconds since it began  $10 attributes (JSON text)
-- Rows: the id, and whether it is part of the transaction of an isolated step (on); or none: the lease is lost.
-- Locks: the job's row.
with held as (
  update asyncjobs.job set progress = $10::text where id = $1::uuid and fence = $2::bigint returning id, attempt
)
insert into asyncjobs.step as step (job, n, name, state, attempt, started_at, finished_at, result, cursor, error)
select id, $3::integer, $4::text, $5::text, attempt, clock_timestamp() - make_interval(secs => $9::float8),
       case when $5::text <> 'started' then clock_timestamp() end, $6::text, $7::text, $8::text
from held
on conflict (job, name) do update
set state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at, result = excluded.result,
    cursor = excluded.cursor, error = excluded.error
returning job as id, pg_catalog.current_setting('asyncjobs.isolated', true) as isolated
