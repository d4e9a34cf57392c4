-- Make running jobs ready again whose worker is dead, has no row, or is not named; what is known of the death is kept with
-- each as an error. They are suspects from now on.
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
  set state = 1, seq = nextval('asyncjobs.ready_seq'), fence = 0, worker = null, started_at = null, run_at = clock_timestamp(),
      crashes = least(crashes, 32766) + 1,
      errors = concat_ws(E'\n', errors, json_build_object(
        'attempt', attempt, 'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'type', 'asyncjobs.exceptions.JobCrashed',
        'message', concat('its worker ', worker, (select concat(' on ' || nullif(dead.host, ''), ' died', ' (' || dead.ended || ')')
                                                 from asyncjobs.worker as dead where dead.id = job.worker), ' while it ran',
                          case when progress is not null then
                            (select concat('; its last step: ', name, ' (', step.state, ')') from asyncjobs.step
                             where step.job = job.id order by n desc limit 1) end),
        'traceback', '')::text)
  from (select ctid from lost union all select ctid from nobodys) as given where job.ctid = given.ctid
  returning job.queue, job.seq
), told as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from rescued group by queue
)
select (select count(*) from rescued) as rescued, (select count(*) from told) as told
