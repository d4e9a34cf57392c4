-- What is known of some jobs, for saying what could be done with them.
-- $1 ids
-- Rows: one for each that is there, in no order; columns as pick_live.sql's. Index: job_pkey, finished_by_id of each partition.
select found.id, fence, state, kind, queue, attempt, at,
       substring(line from '"type"\s*:\s*"((?:[^"\\]|\\.)*)"') as type,
       left(substring(line from '"message"\s*:\s*"((?:[^"\\]|\\.)*)"'), 400) as message
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select id, fence, state, kind, queue, attempt, enqueued_at as at, errors from asyncjobs.job where job.id = given.id
  union all
  select id, fence, state, kind, queue, attempt, finished_at, errors from asyncjobs.finished where finished.id = given.id
  limit 1
) as found
cross join lateral (select reverse(split_part(reverse(errors), E'\n', 1)) as line) as stored
