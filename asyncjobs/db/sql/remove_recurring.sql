-- Remove a schedule that was added at run time, and notify the workers. $1 name
-- Rows: one; none: there is no such schedule.
-- Locks: the row.
with gone as (
  delete from asyncjobs.recurring where name = $1::text and removed_at is null returning name
), forgotten as (
  delete from asyncjobs.recurring_tick using gone where recurring_tick.name = gone.name
)
select gone.name, pg_notify('asyncjobs_recurring', '') from gone
