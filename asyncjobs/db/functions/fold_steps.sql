-- Take the steps of a job that leaves the live table; returns them as a JSON array in their order, or null.
-- Locks: the rows it removes.
create or replace function asyncjobs.fold_steps(job uuid) returns text
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with gone as (delete from asyncjobs.step where step.job = fold_steps.job returning step.*)
  select json_agg(to_json(gone) order by n)::text from gone
$$;
