-- Delete the step records and attributes of a running job: they are too large to be moved to the history.
-- $1 id  $2 fence
-- Rows: none.
-- Locks: the job row, then its steps. Index: job_pkey.
with held as (
  update asyncjobs.job set progress = null where id = $1::uuid and fence = $2::bigint returning id
)
delete from asyncjobs.step using held where step.job >= held.id and step.job <= held.id
