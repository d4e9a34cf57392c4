-- Give back the places under limits of running jobs that wait for others.
-- $1 ids, ascending  $2 fences
-- Rows: one; how many jobs did, and how many keys were noted.
-- Locks: the job rows, in the order of their ids. `>=` and `<=` for `=`: see finish.sql.
with given as materialized (
  select id, fence from unnest($1::uuid[], $2::bigint[]) as g(id, fence)
), given_up as (
  update asyncjobs.job set admitted = -1
  from given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence and job.limit_key is not null
  returning job.id, job.limit_keys
), passed as (
  delete from asyncjobs.limit_pass using given_up
  where limit_pass.job >= given_up.id and limit_pass.job <= given_up.id and cardinality(given_up.limit_keys) > 1
), noted as (
  insert into asyncjobs.limit_note (key) select distinct key from given_up, unnest(limit_keys) as keys(key) returning n
)
select (select count(*) from given_up) as given_up, (select count(*) from noted) as noted,
       (select count(pg_notify('asyncjobs_limits', '')) from (select from noted limit 1) as first) as told
