-- Lock the figures of the queues, to take them anew, unless they are fresh or somebody else does so.
-- $1 seconds for which they are fresh
-- Rows: one, or none: there is nothing to do. Locks: the row, SKIP LOCKED. Index: the table has one row.
select one
from asyncjobs.queue_figures
where taken_at < clock_timestamp() - make_interval(secs => $1::float8)
for update skip locked
