-- The tables of asyncjobs, with their sizes and what statistics say of their rows; the days of the history as one.
-- Rows: one a table, the largest first.
select coalesce(parent.relname, each.relname)::text as name, count(*) filter (where parent.relname is not null) as parts,
       sum(pg_table_size(each.oid))::bigint as size, sum(pg_indexes_size(each.oid))::bigint as index_size,
       sum(greatest(each.reltuples, 0))::bigint as rows, coalesce(sum(stat.n_dead_tup), 0)::bigint as dead,
       max(greatest(stat.last_vacuum, stat.last_autovacuum)) as vacuumed_at
from pg_class as each
left join pg_inherits on pg_inherits.inhrelid = each.oid
left join pg_class as parent on parent.oid = pg_inherits.inhparent
left join pg_stat_all_tables as stat on stat.relid = each.oid
where each.relnamespace = 'asyncjobs'::regnamespace and each.relkind = 'r'
group by 1
order by 3 desc
