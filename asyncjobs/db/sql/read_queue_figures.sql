-- The figures of the queues, as somebody has taken them last.
-- Rows: one; `age` in seconds and `queues`, the JSON that was stored: null before the first time; `writes`: whether this role may
-- take them. Index: the table has one row.
select case when stored.taken_at is not null
            then least(greatest(extract(epoch from clock_timestamp() - asyncjobs.shown(stored.taken_at)), 0), 1e9) end::float8 as age,
       stored.queues, has_table_privilege('asyncjobs.queue_figures', 'update') as writes
from (values (true)) as always(one) left join asyncjobs.queue_figures as stored using (one)
