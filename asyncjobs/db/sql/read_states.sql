-- The states of jobs, live and finished.
-- $1 ids
-- Rows: one for each job that exists, in no order, with the reason of a discard or a cancel. Index: see asyncjobs.job_status.
select found.id, found.state, found.reason
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, state, reason from asyncjobs.job_status where job_status.id = given.id
  limit 1
) as found
