-- Note that a newer version of the code declares these schedules unchanged. $1 names  $2 the version
-- Rows: none.
-- Locks: the rows, which the caller has locked.
update asyncjobs.recurring set version = $2::text where name = any($1::text[])
