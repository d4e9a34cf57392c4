-- The states of jobs, live and finished, for a role that may not read the tables.
-- $1 ids
-- Rows: one for each job that exists, in no order, with the reason of a discard or a cancel.
select id, state, reason from asyncjobs.states($1::uuid[])
