-- The ends of jobs, for a role that may not read the table.
-- $1 ids
-- Rows: at most one an id.
select id, state, kind, result, errors, reason from asyncjobs.ended($1::uuid[])
