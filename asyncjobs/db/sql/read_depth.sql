-- How many jobs are ready in a queue.
-- $1 queue  $2 count no further than this
-- Rows: one.
select asyncjobs.depth($1::text, $2::integer)
