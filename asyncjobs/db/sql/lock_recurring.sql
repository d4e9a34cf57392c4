-- Begin to change schedules: one transaction at a time. Where its process freezes, the others wait for half a minute, or for what the
-- session allows.
-- Rows: one; the time of the database.
-- Locks: an advisory lock of this transaction.
select clock_timestamp() as now,
       case when current_setting('idle_in_transaction_session_timeout') = '0'
            then set_config('idle_in_transaction_session_timeout', '30s', true) end as bound
from (select pg_advisory_xact_lock(hashtextextended('asyncjobs.recurring', 0))) as locked
