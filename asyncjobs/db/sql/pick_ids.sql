-- What is known of some jobs, for saying what could be done with them.
-- $1 ids
-- Rows: one for each that is there, in no order; columns as pick_live.sql's, and always the end of its errors.
-- Index: job_pkey, finished_by_id of each partition.
select found.id, fence, state, kind, queue, attempt, at, right(errors, 100000) as errors
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, fence, state, kind, queue, attempt, enqueued_at as at, errors from asyncjobs.job where job.id = given.id
  union all
  select id, fence, state, kind, queue, attempt, finished_at, errors from asyncjobs.finished where finished.id = given.id
  limit 1
) as found
