-- Note that a newer version of the code has this as it is. $1 names  $2 the version
-- Rows: none.
-- Locks: the rows, which the caller has locked.
update asyncjobs.recurring set version = $2::text where name = any($1::text[])
