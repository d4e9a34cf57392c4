-- The newest jobs that have failed, by when they were enqueued, each with the last of its errors.
-- $1 number of jobs, at most  $2 number of the newest jobs to read that did not succeed
-- Rows: id, kind, finished_at, error (one JSON line). Index: finished_unsucceeded of each partition, merged.
with looked as materialized (
  select id, state, kind, finished_at, errors from asyncjobs.finished where state > 4 order by id desc limit $2::integer
)
select id, kind, coalesce(asyncjobs.shown(finished_at), to_timestamp(0)) as finished_at, reverse(split_part(reverse(right(errors, 100000)), E'\n', 1)) as error
from looked where state = 5 order by id desc limit $1::integer
