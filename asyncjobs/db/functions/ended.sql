-- The ends of jobs, for roles that may not read the table: see read_finished.sql. Rows: at most one an id.
create or replace function asyncjobs.ended(ids uuid[]) returns table (
  id uuid, state smallint, kind text, result text, errors text, reason text
)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(ended.ids);
  return query
  select finished.id, finished.state, finished.kind, finished.result, finished.errors, finished.reason
  from unnest(ended.ids) as given(id)
  cross join lateral (select * from asyncjobs.finished as one where one.id = given.id offset 0) as finished;
end
$$;
