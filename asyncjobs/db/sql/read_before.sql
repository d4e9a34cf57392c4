-- The time $1 seconds ago, by the database's clock: an action by hand leaves later jobs alone.
-- $1 seconds
-- Rows: one.
select clock_timestamp() - make_interval(secs => $1::float8) as before
