-- The states of jobs, live and finished.
-- $1 ids
-- Rows: one for each that is there, in no order, with why it was discarded or cancelled. Index: job_pkey, finished_by_id of each partition.
select found.id, found.state, found.reason
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, state, null::text as reason from asyncjobs.job where job.id = given.id
  union all
  select id, state, reason from asyncjobs.finished where finished.id = given.id
  limit 1
) as found
