-- Schedules with due ticks, and the time of the next tick.
-- $1 kinds that this worker knows: others are for workers that know them  $2 number of schedules, at most
-- $3 names  $4 schedules  $5 time zones of schedules that this worker cannot read, and leaves to others while they are unchanged
-- Rows: at least one; the time of the database, the seconds until the next tick (null: there is none), and a due schedule (its name
-- null: none is due).
-- Index: recurring_by_time.
with left_out as materialized (
  select name, schedule, timezone from unnest($3::text[], $4::text[], $5::text[]) as l(name, schedule, timezone)
)
select clock.now, extract(epoch from (
         select asyncjobs.shown(next.next_at) from asyncjobs.recurring as next
         where next.next_at is not null and (next.declared is distinct from 'code' or next.kind = any($1::text[]))
           and (next.name, next.schedule, next.timezone) not in (table left_out)
         order by next.next_at limit 1) - clock.now)::float8 as wait,
       due.name, due.revision, asyncjobs.shown(due.seen_until) as seen_until, due.schedule, due.timezone, due.catch_up,
       least(greatest(due.jitter, 0), 86400) as jitter,
       coalesce(due.job_order like '%"unique"%', false) as is_unique
from (select clock_timestamp() as now) as clock
left join lateral (
  select * from asyncjobs.recurring
  where next_at <= clock.now and (declared is distinct from 'code' or kind = any($1::text[]))
    and (name, schedule, timezone) not in (table left_out)
  order by next_at limit $2::integer
) as due on true
