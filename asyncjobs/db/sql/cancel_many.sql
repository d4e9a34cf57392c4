-- Cancel jobs.
-- $1 ids, ascending  $2 reason  $3 days they are kept, when they are cancelled now
-- Rows: one an id; 'cancelled', 'cancelling', 'final' or null.
-- Locks: the rows, in the order of their ids: a function is called row by row.
select g.id, asyncjobs.cancel(g.id, $2::text, $3::integer) as came_to from unnest($1::uuid[]) as g(id)
