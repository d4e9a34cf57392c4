-- The live jobs that are cancelled along with one, and were not asked to be yet: the rest of its chain, the jobs that a step of it
-- runs unless that says `detached`, and the same of these. After a running job the rest of a chain is left out: it ends with that.
-- Rows: their ids, without its own.
create or replace function asyncjobs.goes_along(id uuid) returns setof uuid
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with recursive along as (
    select goes_along.id as job
    union
    select next.job
    from along
    cross join lateral (
      select link.job from asyncjobs.link
      where link.after = along.job and not link.anyhow and not link.begun
        and (select job.state from asyncjobs.job where job.id = along.job) is distinct from 2
      union all
      select (one.value->>'id')::uuid
      from asyncjobs.step cross join lateral json_array_elements(step.children::json->'jobs') as one
      where step.job = along.job and step.state = 'running' and step.children is not null
        and step.children::json->>'detached' is distinct from 'true'
    ) as next(job)
  )
  select job.id
  from along
  cross join lateral (select job.id, job.state, job.cancel_reason from asyncjobs.job where job.id = along.job offset 0) as job
  where along.job <> goes_along.id and (job.state <> 2 or job.cancel_reason is null)
$$;
