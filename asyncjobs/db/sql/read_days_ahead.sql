-- How many days the history's partitions reach: a finished job whose day has none cannot be stored at once.
-- Rows: one; days from today on without a gap at the end, 0 when there is none.
select coalesce(max(to_date(substr(c.relname, 10), 'YYYYMMDD')) - (clock_timestamp() at time zone 'UTC')::date, -1) + 1 as days
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = 'asyncjobs.finished'::regclass and c.relname ~ '^finished_[0-9]{8}$'
