-- The states of jobs, for roles that may not read the tables: see read_states.sql. Rows: one for each job that exists.
create or replace function asyncjobs.states(ids uuid[]) returns table (id uuid, state smallint, reason text)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(states.ids);
  return query
  select found.id, found.state, found.reason
  from unnest(states.ids) as given(id)
  cross join lateral (
    select job_status.id, job_status.state, job_status.reason from asyncjobs.job_status where job_status.id = given.id
    limit 1
  ) as found;
end
$$;
