-- The ends of jobs.
-- $1 ids
-- Rows: at most one an id. Index: finished_by_id of each partition.
select finished.id, state, kind, result, errors, reason
from unnest($1::uuid[]) as given(id)
join asyncjobs.finished on finished.id = given.id
