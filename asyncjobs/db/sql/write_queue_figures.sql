-- Store the figures of the queues.
-- $1 JSON  $2 whether they were just taken; else it is the row itself that is wanted, for the first time
-- Locks: the row. Index: the table has one row.
insert into asyncjobs.queue_figures as stored (taken_at, queues)
values (case when $2::boolean then clock_timestamp() else '-infinity' end, $1::text)
on conflict (one) do update set taken_at = excluded.taken_at, queues = excluded.queues where $2::boolean
