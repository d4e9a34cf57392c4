-- The number of ready jobs in a queue.
-- $1 queue  $2 number of jobs to count, at most
-- Rows: one.
select asyncjobs.depth($1::text, $2::integer)
