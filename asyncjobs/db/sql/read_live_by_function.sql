-- Live jobs among some, for a role that may not read the table.
-- $1 ids
-- Rows: the ids of the live ones.
select id from asyncjobs.live($1::uuid[]) as l(id)
