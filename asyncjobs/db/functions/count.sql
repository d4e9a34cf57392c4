-- The number of jobs that match, at most `most`. wanted: see asyncjobs.condition.
-- With the caller's rights.
create or replace function asyncjobs.count(wanted json, most integer) returns integer
language plpgsql stable
set search_path = pg_catalog, asyncjobs, pg_temp
set jit = off
as $$
declare
  found integer;
begin
  execute format('select pg_catalog.count(*) from (select from asyncjobs.job_status where %s limit %s) as matching',
                 asyncjobs.condition(count.wanted), count.most) into found;
  return found;
end
$$;
