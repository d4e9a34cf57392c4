-- Begin to change schedules: one transaction at a time.
-- Rows: one; the time of the database.
-- Locks: the row exclusively of no table; an advisory lock of this transaction.
select clock_timestamp() as now from (select pg_advisory_xact_lock(hashtextextended('asyncjobs.recurring', 0))) as locked
