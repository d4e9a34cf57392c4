-- The number of finished jobs, as the statistics have it.
-- Rows: one.
select coalesce(sum(greatest(each.reltuples, 0)), 0)::bigint as jobs
from pg_inherits join pg_class as each on each.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'asyncjobs.finished'::regclass
