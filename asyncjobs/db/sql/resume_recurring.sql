-- Resume a paused schedule, from now on, and notify the workers.
-- $1 name  $2 the time of the database  $3 the time of its next tick
-- Rows: one; none: there is no such schedule.
-- Locks: the row.
with resumed as (
  update asyncjobs.recurring
  set paused_at = null, revision = revision + 1, changed_at = clock_timestamp(), seen_until = greatest(seen_until, $2::timestamptz),
      next_at = case when enabled then $3::timestamptz end
  where name = $1::text and removed_at is null
  returning name
)
select resumed.name, pg_notify('asyncjobs_recurring', '') from resumed
