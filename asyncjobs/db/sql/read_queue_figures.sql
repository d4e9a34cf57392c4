-- The figures of the queues, as somebody has taken them last.
-- Rows: one, or none before the first time; `age` in seconds, `queues` the JSON that was stored. Index: the table has one row.
select least(greatest(extract(epoch from clock_timestamp() - asyncjobs.shown(taken_at)), 0), 1e9)::float8 as age, queues
from asyncjobs.queue_figures
