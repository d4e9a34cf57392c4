-- Delete declared schedules that were removed a month ago: no process of older code is expected any more.
-- Rows: none.
-- Locks: the rows.
with gone as (
  delete from asyncjobs.recurring where removed_at < clock_timestamp() - interval '30 days' returning name
)
delete from asyncjobs.recurring_tick using gone where recurring_tick.name = gone.name
