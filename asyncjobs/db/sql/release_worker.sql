-- Give back the jobs of a worker whose process ends because it was told to stop, and declare it dead.
-- $1 worker  $2 how it ended (a signal's name, an exit code), or null
-- Rows: one; how many jobs were given back.
-- They are unspent, and no crash is charged, as reschedule.sql gives back interrupted jobs. No notice is sent: their code may go
-- on until the process has ended, and a poll comes later than that.
-- Locks: the job rows, SKIP LOCKED: a locked one is rescued later, and no crash charged to it, either. Index: job_for_rescue.
with ended as (
  update asyncjobs.worker set dead_at = clock_timestamp(), ended = $2::text, spared = true
  where id = $1::uuid and dead_at is null
), held as materialized (
  select ctid from asyncjobs.job where state = 2 and worker = $1::uuid for no key update skip locked
), released as (
  update asyncjobs.job
  set state = 1, seq = nextval('asyncjobs.ready_seq'), fence = -job.fence, worker = null, started_at = null,
      attempt = greatest(job.attempt - 1, 0), expires_at = null
  from held where job.ctid = held.ctid
  returning job.id
)
select count(*) as given_back from released
