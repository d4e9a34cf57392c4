-- The ends of jobs.
-- $1 ids
-- Rows: at most one an id. Index: finished_by_id of each partition.
select ended.*
from unnest($1::uuid[]) as given(id)
cross join lateral (
  select finished.id, state, kind, result, errors, reason from asyncjobs.finished where finished.id = given.id offset 0
) as ended
