-- Lock the rows of running jobs that no other transaction holds, and return which these are.
-- $1 ids, ascending  $2 fences
-- Rows: id, got: one with true for each row locked now, and one with false for each row that exists. A job without a row here has
-- another fence by now, or is gone.
-- Locks: the free job rows, as strongly as a delete. Later statements of this transaction wait 20 ms for any other lock.
-- `>=` and `<=` for `=`: see finish.sql. Index: job_pkey.
with given as materialized (
  select g.id, g.fence from unnest($1::uuid[], $2::bigint[]) as g(id, fence)
), short as materialized (
  select set_config('lock_timeout', '20ms', true)
), free as materialized (
  select job.id
  from short, given join asyncjobs.job on job.id >= given.id and job.id <= given.id and job.fence = given.fence
  for update of job skip locked
)
select id, true as got from free
union all
select job.id, false
from given join asyncjobs.job on job.id >= given.id and job.id <= given.id and job.fence = given.fence
