-- Delete batches that have been over for long, and of whose jobs no row is left; parts of a batch after it.
-- $1 seconds since their end  $2 number of batches, at most
-- Rows: one; how many were deleted.
-- Locks: their rows, SKIP LOCKED. Index: batch_by_time, finished_of_batch, job_of_batch.
with old as materialized (
  select id from asyncjobs.batch
  where settled and finished_at < clock_timestamp() - make_interval(secs => $1::float8)
    and not exists (select from asyncjobs.finished where finished.batch = batch.id offset 0)
    and not exists (select from asyncjobs.job where job.batch = batch.id offset 0)
    and not exists (select from asyncjobs.batch as above where above.id = batch.parent offset 0)
  order by finished_at limit $2::integer
  for update skip locked
), gone as (
  delete from asyncjobs.batch using old where batch.id >= old.id and batch.id <= old.id returning 1
)
select count(*) as forgotten from gone
