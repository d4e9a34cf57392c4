-- Record one step of a running job, and the job's attributes; see record_step.sql for a step alone.
-- $1 id of the job  $2 fence  $3 number, $4 name and $5 state of the step  $6 result  $7 cursor  $8 error (JSON text)
-- $9 seconds since it began  $10 attributes (JSON text)
-- Rows: the id, and whether it is part of the transaction of an isolated step (on); or none: the lease is lost.
-- Locks: the job's row.
-- It also runs on connections lent to a user's code, which may set a search_path: so all names have their schema.
with held as (
  update asyncjobs.job set progress = $10::pg_catalog.text
  where id operator(pg_catalog.=) $1::pg_catalog.uuid and fence operator(pg_catalog.=) $2::pg_catalog.int8
  returning id, attempt
)
insert into asyncjobs.step as step (job, n, name, state, attempt, started_at, finished_at, result, cursor, error)
select id, $3::pg_catalog.int4, $4::pg_catalog.text, $5::pg_catalog.text, attempt,
       pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.make_interval(secs => $9::pg_catalog.float8),
       case when $5::pg_catalog.text operator(pg_catalog.<>) 'started' then pg_catalog.clock_timestamp() end,
       $6::pg_catalog.text, $7::pg_catalog.text, $8::pg_catalog.text
from held
on conflict (job, name) do update
set state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at, result = excluded.result,
    cursor = excluded.cursor, error = excluded.error
returning job as id, pg_catalog.current_setting('asyncjobs.isolated', true) as isolated
