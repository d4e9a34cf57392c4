-- Remove what was added at run time, and what is noted of its times; and have the workers look. $1 name
-- Rows: one; none: there is no such.
-- Locks: the row.
with gone as (
  delete from asyncjobs.recurring where name = $1::text and removed_at is null returning name
), forgotten as (
  delete from asyncjobs.recurring_tick using gone where recurring_tick.name = gone.name
)
select gone.name, pg_notify('asyncjobs_recurring', '') from gone
