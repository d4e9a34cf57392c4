-- The days of the history.
-- Rows: one a partition, by its name: its name, the day from which on it may be dropped, size and estimated rows; 100 at most.
select each.relname::text as name, substring(pg_get_expr(each.relpartbound, each.oid) from 'TO \(''([0-9-]+)') as may_go_on, pg_total_relation_size(each.oid)::bigint as size,
       greatest(each.reltuples, 0)::bigint as rows
from pg_inherits join pg_class as each on each.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'asyncjobs.finished'::regclass
order by each.relname
limit 100
