-- Forget what was declared once and has been removed for a month: no version of the code is older.
-- Rows: none.
-- Locks: the rows.
with gone as (
  delete from asyncjobs.recurring where removed_at < clock_timestamp() - interval '30 days' returning name
)
delete from asyncjobs.recurring_tick using gone where recurring_tick.name = gone.name
