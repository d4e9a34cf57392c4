-- Live jobs among some, for roles that may not read the table: see read_live.sql. Returns the ids that are.
create or replace function asyncjobs.live(ids uuid[]) returns setof uuid
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(live.ids);
  return query
  select found.id from unnest(live.ids) as given(id)
  cross join lateral (select job.id from asyncjobs.job where job.id = given.id offset 0) as found;
end
$$;
