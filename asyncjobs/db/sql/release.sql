-- Give running jobs back, unspent: the worker stops. They are ready again, at the end of their priority.
-- $1 ids, ascending  $2 fences
-- Rows: one; how many were released.
-- Locks: the job rows, in the order of their ids. `>=` and `<=` for `=`: see finish.sql.
with given as materialized (
  select * from unnest($1::uuid[], $2::bigint[]) as g(id, fence)
), released as (
  update asyncjobs.job
  set state = 1, seq = nextval('asyncjobs.ready_seq'), fence = 0, worker = null, started_at = null,
      attempt = greatest(attempt - 1, 0)
  from given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence
  returning job.queue, job.seq
), told as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from released group by queue
)
select (select count(*) from released) as released, (select count(*) from told) as told
