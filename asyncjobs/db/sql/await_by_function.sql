-- Set the flags that have notices sent when jobs become final, for a role that may not write the table; see await_jobs.sql.
-- $1 ids
-- Rows: the ids that are live.
-- Locks: the rows, in the order of their ids.
select id from asyncjobs.await_jobs($1::uuid[]) as a(id)
