-- Make jobs ready again.
-- $1 ids, ascending  $2 the fences with which they were read, or null  $3 whether to retry jobs that succeeded, too
-- $4 the step from which they run again, or null
-- Rows: one for each job that exists, in no order; whether it was made ready now, its state, and the job that has its unique key.
-- Locks: the rows, in the order of their ids.
select id, done, state, taken_by from asyncjobs.retry($1::uuid[], $2::bigint[], $3::boolean, $4::text)
