-- The days of the history.
-- Rows: one a partition, by its bound: its name, bound, size and estimated rows; 100 at most.
select each.relname::text as name, pg_get_expr(each.relpartbound, each.oid) as bound, pg_total_relation_size(each.oid)::bigint as size,
       greatest(each.reltuples, 0)::bigint as rows
from pg_inherits join pg_class as each on each.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'asyncjobs.finished'::regclass
order by each.relname
limit 100
