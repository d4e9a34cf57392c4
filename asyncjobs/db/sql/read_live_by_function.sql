-- Which of these jobs are live, for a role that may not read the table.
-- $1 ids
-- Rows: the ids that are.
select id from asyncjobs.live($1::uuid[]) as l(id)
