-- The newest number of the ready sequence: what is ready and was committed by now lies at or below it.
-- Rows: one.
select last_value from asyncjobs.ready_seq
