-- The time so many seconds ago, by the database's clock: what is done by hand takes nothing in that came later.
-- $1 seconds
-- Rows: one.
select clock_timestamp() - make_interval(secs => $1::float8) as before
