-- Cancel a job.
-- $1 id  $2 reason  $3 days for which it is kept if it is cancelled now
-- Rows: one; 'cancelled', 'cancelling', 'final' or null.
select asyncjobs.cancel($1::uuid, $2::text, $3::integer)
