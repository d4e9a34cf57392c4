-- The states of jobs, for those who may not read the tables: see read_states.sql. Rows: one for each that is there.
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
    select job.id, job.state, null::text as reason from asyncjobs.job where job.id = given.id
    union all
    select finished.id, finished.state, finished.reason from asyncjobs.finished where finished.id = given.id
    limit 1
  ) as found;
end
$$;
