-- Decide about the times of what recurs that are over; see asyncjobs.fire. $1 JSON text
-- Rows: as there.
select name, enqueued, left_out, trouble from asyncjobs.fire($1::text::json)
