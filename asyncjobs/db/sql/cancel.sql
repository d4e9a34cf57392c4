-- Cancel a job.
-- $1 id  $2 reason  $3 days it is kept, when it is cancelled now
-- Rows: one; 'cancelled', 'cancelling', 'final' or null.
select asyncjobs.cancel($1::uuid, $2::text, $3::integer)
