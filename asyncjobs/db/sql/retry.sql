-- Make jobs ready again.
-- $1 ids, ascending  $2 fences they were read with, or null  $3 whether those that succeeded too  $4 the step from which they run again, or null
-- Rows: one for each id that is there, in no order; whether it was made ready now, its state, and who has its unique key instead.
-- Locks: the rows, in the order of their ids.
select id, done, state, taken_by from asyncjobs.retry($1::uuid[], $2::bigint[], $3::boolean, $4::text)
