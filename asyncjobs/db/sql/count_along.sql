-- How many jobs would be cancelled with others.
-- $1 ids of these, ascending
-- Rows: one for each with which some would be that are none of these; of several with which one would be it counts with the first.
select id, count(*) as along
from (
  select distinct on (along.job) given.id
  from unnest($1::uuid[]) as given(id) cross join lateral asyncjobs.goes_along(given.id) as along(job)
  where along.job <> all($1::uuid[])
  order by along.job, given.id
) as firsts
group by id
