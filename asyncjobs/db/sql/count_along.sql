-- The number of jobs that would be cancelled along with others.
-- $1 ids of the others, ascending
-- Rows: one for each id with which further jobs would be cancelled; a job that goes with several ids counts for the first.
select id, count(*) as along
from (
  select distinct on (along.job) given.id
  from unnest($1::uuid[]) as given(id) cross join lateral asyncjobs.goes_along(given.id) as along(job)
  where along.job <> all($1::uuid[])
  order by along.job, given.id
) as firsts
group by id
