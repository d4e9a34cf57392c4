-- The number of failed jobs that the last step of each job runs: a retry of the job retries them.
-- $1 ids
-- Rows: one for each that has any, live or finished. Index: the primary key of step, finished_by_id of each partition.
with run as materialized (
  select last.job, last.children
  from unnest($1::uuid[]) as given(id)
  cross join lateral (
    select step.job, step.state, step.children from asyncjobs.step where step.job = given.id order by step.n desc limit 1
  ) as last
  where last.state = 'running'
  union all
  select finished.id, last.one->>'children'
  from unnest($1::uuid[]) as given(id)
  cross join lateral (
    select finished.id, finished.steps from asyncjobs.finished
    where finished.id = given.id and finished.steps like '%"children":"%' offset 0
  ) as finished
  cross join lateral (select json_array_element(finished.steps::json, -1) as one) as last
  where last.one->>'state' = 'running'
)
select run.job, count(*) as failed
from run cross join lateral json_array_elements(run.children::json->'jobs') as child(one)
where child.one->>'state' = 'failed'
group by run.job
