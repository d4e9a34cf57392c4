-- Remove the rows of the test kit's own workers, and of those whose sessions are gone; others stay.
-- No parameters. Rows: none.
-- Locks: the rows it removes.
delete from asyncjobs.worker w
where w.host = 'pytest'
   or not exists (
     select 1 from pg_stat_activity a where a.pid = w.backend_pid and a.backend_start is not distinct from w.backend_start
   )
