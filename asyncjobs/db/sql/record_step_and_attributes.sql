-- Record where a step of a running job stands, and the job's attributes; see record_step.sql for a step alone.
-- $1 id of the job  $2 fence  $3 attributes (JSON text)  $4 number, $5 name and $6 state of the step  $7 result  $8 cursor
-- $9 error (JSON text)  $10 seconds since it began  $11 whether it has ended
-- Rows: the id, or none: the lease is lost.
-- Locks: the job's row.
with held as (
  update asyncjobs.job set progress = $3::text where id = $1::uuid and fence = $2::bigint returning id, attempt
)
insert into asyncjobs.step as step (job, n, name, state, attempt, started_at, finished_at, result, cursor, error)
select id, $4::integer, $5::text, $6::text, attempt, clock_timestamp() - make_interval(secs => $10::float8),
       case when $11::boolean then clock_timestamp() end, $7::text, $8::text, $9::text
from held
on conflict (job, name) do update
set state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at, result = excluded.result,
    cursor = excluded.cursor, error = excluded.error
returning job as id
