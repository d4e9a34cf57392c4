-- Move due times closer: of jobs, sleeps, time limits of waits, expiry; the ends of windows of unique keys, and of pauses.
-- $1 seconds  $2 whether to move them just to now, whatever $1 is, and no expiry
-- $3 the job; null: all
-- Rows: one; how many live jobs were moved, and how many notices went out.
-- Locks: the live rows, their steps, the windows and the pauses.
with moved as (
  update asyncjobs.job
  set run_at = case when $2::boolean then least(run_at, clock_timestamp())
                    when run_at < 'infinity' then run_at - make_interval(secs => $1::float8) else run_at end,
      expires_at = case when $2::boolean then expires_at else expires_at - make_interval(secs => $1::float8) end
  where state <> 2 and ($3::uuid is null or id = $3::uuid)
    and (not $2::boolean or (state in (0, 3) and run_at between clock_timestamp() and '9999-12-31'))
  returning id
), woken as (
  update asyncjobs.step
  set wakes_at = case when $2::boolean then least(wakes_at, clock_timestamp())
                      else wakes_at - make_interval(secs => $1::float8) end
  from moved where step.job = moved.id and step.wakes_at is not null
), windows as (
  update asyncjobs.unique_window set until = until - make_interval(secs => $1::float8) where not $2::boolean and $3::uuid is null
), pauses as (
  update asyncjobs.pause set until = until - make_interval(secs => $1::float8)
  where not $2::boolean and $3::uuid is null and until is not null
), told as (
  select pg_notify('asyncjobs_due', '') from moved limit 1
)
select (select count(*) from moved) as moved, (select count(*) from told) as told
