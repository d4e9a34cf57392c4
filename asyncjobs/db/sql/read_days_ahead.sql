-- The number of days for which the history has partitions: a job cannot be stored for a day without one.
-- Rows: one; days from today on without a gap, at most 35.
select coalesce(min(n), 35) as days
from generate_series(0, 34) as n
where not exists (
  select from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'asyncjobs.finished'::regclass
    and c.relname = 'finished_' || to_char((clock_timestamp() at time zone 'UTC')::date + n, 'YYYYMMDD')
)
