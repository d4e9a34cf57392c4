-- Cancel jobs.
-- $1 ids, ascending  $2 reason  $3 days for which they are kept if they are cancelled now
-- Rows: one an id; 'cancelled', 'cancelling', 'final' or null, and the number of others cancelled along with it.
-- Locks: see asyncjobs.cancel_each.
select id, came_to, along from asyncjobs.cancel_each($1::uuid[], $2::text, $3::integer)
