-- The states of jobs, live and finished, for a role that may not read the tables.
-- $1 ids
-- Rows: one for each that is there, in no order, with why it was discarded or cancelled.
select id, state, reason from asyncjobs.states($1::uuid[])
