-- Discard jobs that do not run.
-- $1 ids, ascending  $2 the fences with which they were read, or null  $3 reason  $4 days for which they are kept
-- Rows: one for each job that exists, in no order; whether it was discarded now, and its state.
-- Locks: the rows, in the order of their ids.
select id, done, state from asyncjobs.discard($1::uuid[], $2::bigint[], $3::text, $4::integer)
