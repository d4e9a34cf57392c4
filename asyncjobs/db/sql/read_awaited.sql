-- The live jobs that a running job waits for: jobs that its step runs, or that its code has awaited for a second and more.
-- $1 id  $2 number of jobs, at most
-- Rows: in the order in which they were given; id, kind, state, name of the step or null, number of live ones, number of all.
-- Index: job_pkey, the primary key of step.
with awaited as materialized (
  select (child.one->>'id')::uuid as id, child.n, step.name as step, count(*) over () as total, child.one->>'state' as ended
  from (select id, state from asyncjobs.job where id = $1::uuid offset 0) as job
  cross join lateral (
    select step.name, step.children from asyncjobs.step
    where step.job = job.id and step.state = 'running' and step.children is not null offset 0
  ) as step
  cross join lateral json_array_elements(step.children::json->'jobs') with ordinality as child(one, n)
  where job.state = 2
  union all
  select awaited.id, awaited.n, null, count(*) over (), null
  from (select id, state, fence, waits_fence, waits_for, waits_timed from asyncjobs.job where id = $1::uuid offset 0) as job
  cross join lateral unnest(coalesce(job.waits_for, '{}') || coalesce(job.waits_timed, '{}')) with ordinality as awaited(id, n)
  where job.state = 2 and job.waits_fence = job.fence
    and not exists (select from asyncjobs.step where step.job = job.id and step.state = 'running' and step.children is not null)
)
select job.id, job.kind, job.state, awaited.step, count(*) over () as "left", awaited.total as "of"
from awaited
cross join lateral (select id, kind, state from asyncjobs.job where job.id = awaited.id offset 0) as job
where awaited.ended is null
order by awaited.n
limit $2::integer
