-- The kinds and queues of the newest jobs, live and ended.
-- $1 number of jobs to look at, of each
-- Rows: one a pair, at most 500. Index: job_pkey and finished_by_id of each partition, backwards.
with live as materialized (
  select kind, queue from asyncjobs.job order by id desc limit $1::integer
), ended as materialized (
  select kind, queue from asyncjobs.finished order by id desc limit $1::integer
)
select kind, queue from live union select kind, queue from ended limit 500
