-- Make running jobs ready again whose worker is dead, has no row, or is not named.
-- $1 at most so many
-- Rows: one; how many were rescued.
-- Locks: the rescued rows, SKIP LOCKED. Index: job_for_rescue, a loose scan over the workers that hold jobs.
with recursive holder as (
  (select worker from asyncjobs.job where state = 2 order by worker limit 1)
  union all
  select (select job.worker from asyncjobs.job where job.state = 2 and job.worker > holder.worker
          order by job.worker limit 1)
  from holder where holder.worker is not null
), dead as materialized (
  select holder.worker from holder
  where holder.worker is not null
    and not exists (select from asyncjobs.worker where worker.id = holder.worker and worker.dead_at is null)
), lost as materialized (
  select held.ctid from dead
  cross join lateral (
    select job.ctid from asyncjobs.job
    where job.state = 2 and job.worker = dead.worker
    limit $1::integer for no key update skip locked
  ) as held
  limit $1::integer
), nobodys as materialized (
  select ctid from asyncjobs.job where state = 2 and worker is null limit $1::integer for no key update skip locked
), rescued as (
  update asyncjobs.job
  set state = 1, seq = nextval('asyncjobs.ready_seq'), fence = 0, worker = null, started_at = null, crashes = least(crashes, 32766) + 1
  from (select ctid from lost union all select ctid from nobodys) as given where job.ctid = given.ctid
  returning job.queue, job.seq
), told as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from rescued group by queue
)
select (select count(*) from rescued) as rescued, (select count(*) from told) as told
