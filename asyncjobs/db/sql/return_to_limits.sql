-- Ask for the places under limits of running jobs again, which have waited for others.
-- $1 ids, ascending  $2 fences
-- Rows: one; how many ask, and how many keys were noted.
-- Locks: the job rows, in the order of their ids. `>=` and `<=` for `=`: see finish.sql.
with given as materialized (
  select id, fence from unnest($1::uuid[], $2::bigint[]) as g(id, fence)
), asking as (
  update asyncjobs.job set admitted = null, limit_key = limit_keys[1]
  from given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence and job.admitted = -1
  returning job.limit_key
), noted as (
  insert into asyncjobs.limit_note (key) select distinct limit_key from asking returning n
)
select (select count(*) from asking) as asking, (select count(*) from noted) as noted
