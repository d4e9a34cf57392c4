-- Which of these attempts are in the history already: their finish was committed and its answer lost.
-- $1 ids  $2 fences
-- Rows: at most one an id; `id`. Index: finished_by_id of each partition.
select given.id
from unnest($1::uuid[], $2::bigint[]) as given(id, fence)
where exists (select from asyncjobs.finished where finished.id = given.id and finished.fence = given.fence offset 0)
