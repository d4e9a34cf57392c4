-- Take a number of the ready sequence: every row inserted after this, in any session, has a greater one.
-- Rows: one.
select nextval('asyncjobs.ready_seq')
