-- Jobs of a batch: those that ended without success, then live ones, then the others.
-- $1 batch  $2 number of jobs, at most
-- Index: job_of_batch; finished_of_batch of each partition.
select id, state, kind
from (
  (select 1 as place, id, state, kind from asyncjobs.finished where batch = $1::uuid and state > 4 limit $2::integer)
  union all
  (select 2, id, state, kind from asyncjobs.job where batch = $1::uuid limit $2::integer)
  union all
  (select 3, id, state, kind from asyncjobs.finished where batch = $1::uuid and state = 4 limit $2::integer)
) as found
order by place, id
limit $2::integer
