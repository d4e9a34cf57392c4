-- Cancel jobs.
-- $1 ids, ascending  $2 reason  $3 days they are kept, when they are cancelled now
-- Rows: one an id; 'cancelled', 'cancelling', 'final' or null, and how many others it has taken along.
-- Locks: see asyncjobs.cancel_each.
select id, came_to, along from asyncjobs.cancel_each($1::uuid[], $2::text, $3::integer)
