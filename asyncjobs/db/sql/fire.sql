-- Enqueue the jobs of due ticks; see asyncjobs.fire. $1 JSON text
-- Rows: as there.
select name, enqueued, left_out, trouble from asyncjobs.fire($1::text::json)
