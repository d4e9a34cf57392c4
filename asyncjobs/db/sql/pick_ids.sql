-- Jobs by their ids, for a dry run of an action.
-- $1 ids
-- Rows: one for each job that exists, in no order; columns as pick.sql's, and always the end of its errors.
-- Index: see asyncjobs.job_status.
select found.id, fence, state, kind, queue, attempt, at, right(errors, 100000) as errors
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, fence, state, kind, queue, attempt, coalesce(finished_at, enqueued_at) as at, errors
  from asyncjobs.job_status where job_status.id = given.id
  limit 1
) as found
