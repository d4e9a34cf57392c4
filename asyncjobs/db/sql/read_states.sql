-- The states of jobs, live and finished.
-- $1 ids
-- Rows: one for each that is there, in no order. Index: job_pkey, finished_by_id of each partition.
select found.id, found.state
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, state from asyncjobs.job where job.id = given.id
  union all
  select id, state from asyncjobs.finished where finished.id = given.id
  limit 1
) as found
