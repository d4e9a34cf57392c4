-- Make running jobs ready again whose worker is dead, has no row, or is not named; the known facts about the death are stored
-- with each as an error.
-- $1 number of jobs, at most  $2 number of deaths in a row that may go uncharged
-- Rows: one; how many were rescued.
-- A death is charged to a job that may have caused it: not the death of a worker that was told to stop, which spends no attempt,
-- either, and not for a job that ran in a process of its own. After $2 others it is charged all the same: a job may end its whole
-- machine each time.
-- Locks: the rescued rows, SKIP LOCKED. Index: job_for_rescue, a loose scan over the workers that hold jobs.
with recursive holder as (
  (select worker from asyncjobs.job where state = 2 order by worker limit 1)
  union all
  select (select job.worker from asyncjobs.job where job.state = 2 and job.worker > holder.worker
          order by job.worker limit 1)
  from holder where holder.worker is not null
), dead as materialized (
  select holder.worker, w.host, w.ended, coalesce(w.spared, false) as outside
  from holder left join asyncjobs.worker as w on w.id = holder.worker
  where holder.worker is not null and (w.id is null or w.dead_at is not null)
), lost as materialized (
  select held.ctid, dead.host, dead.ended, dead.outside from dead
  cross join lateral (
    select job.ctid from asyncjobs.job
    where job.state = 2 and job.worker = dead.worker
    limit $1::integer for no key update skip locked
  ) as held
  limit $1::integer
), nobodys as materialized (
  select ctid from asyncjobs.job where state = 2 and worker is null limit $1::integer for no key update skip locked
), given as (
  select ctid, host, ended, outside from lost
  union all
  select ctid, null, null, false from nobodys
), rescued as (
  update asyncjobs.job
  set state = 1, seq = nextval('asyncjobs.ready_seq'), fence = 0, worker = null, started_at = null, run_at = clock_timestamp(),
      crashes = case when (given.outside or apart) and spared < $2::integer then crashes else least(crashes, 32766) + 1 end,
      spared = case when (given.outside or apart) and spared < $2::integer then spared + 1 else spared end,
      attempt = case when given.outside then greatest(attempt - 1, 0) else attempt end,
      expires_at = case when not given.outside then expires_at end,
      errors = concat_ws(E'\n', errors, json_build_object(
        'attempt', attempt, 'at', to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        'type', 'asyncjobs.exceptions.JobCrashed',
        'message', concat('its worker ', worker, ' on ' || nullif(given.host, ''),
                          case when given.host is not null then concat(' died', ' (' || given.ended || ')') end,
                          ' while it ran',
                          case when progress is not null then
                            (select concat('; its last step: ', name, ' (', step.state, ')') from asyncjobs.step
                             where step.job = job.id order by n desc limit 1) end,
                          case when not (given.outside or apart) then null
                               when spared >= $2::integer then concat('; charged to it after ', spared, ' in a row that were not')
                               when given.outside then '; not charged to it: the worker was told to stop'
                               else '; not charged to it: it ran in a process of its own' end),
        'traceback', '', 'worker', given.host,
        'started_at', to_char(started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'))::text)
  from given where job.ctid = given.ctid
  returning job.queue, job.seq
), told as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from rescued group by queue
)
select (select count(*) from rescued) as rescued, (select count(*) from told) as told
