-- Set the flags that have notices sent when jobs become final, for roles that may not read the table: see await_jobs.sql.
-- Returns the ids that are live.
-- Locks: the rows, in the order of their ids.
create or replace function asyncjobs.await_jobs(ids uuid[]) returns setof uuid
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(await_jobs.ids);
  return query
  with quick as materialized (select set_config('synchronous_commit', 'off', true)),
  given as materialized (select id from quick, unnest(await_jobs.ids) as g(id) order by id),
  flagged as (
    update asyncjobs.job set awaited = true from given where job.id >= given.id and job.id <= given.id
    returning job.id, job.state, job.queue, job.seq
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from flagged where state = 1 group by queue
  ), counted as (select count(*) from told)
  select flagged.id from flagged, counted;
end
$$;
