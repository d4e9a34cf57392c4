-- Remove a schedule, or pause it until it is resumed; and notify the workers.
-- $1 name  $2 whether it is removed, else paused  $3 the version of the code that removes it; null: it is removed by hand
-- Rows: one; none: there is no such schedule.
-- Locks: the row.
with stopped as (
  update asyncjobs.recurring
  set next_at = null, revision = revision + 1, changed_at = clock_timestamp(), version = coalesce($3::text, version),
      paused_at = case when $2::boolean then null else coalesce(paused_at, clock_timestamp()) end,
      removed_at = case when $2::boolean then clock_timestamp() end
  where name = $1::text and removed_at is null
  returning name
)
select stopped.name, pg_notify('asyncjobs_recurring', '') from stopped
