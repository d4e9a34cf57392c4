-- Set the lock_timeout of this transaction, and no statement_timeout, whatever the role has.
-- $1 the time, with its unit
-- Rows: one.
select set_config('lock_timeout', $1::text, true), set_config('statement_timeout', '0', true)
