-- Have this transaction wait so long for each lock and, whatever the role says, as long as it takes for a statement.
-- $1 the time, with its unit
-- Rows: one.
select set_config('lock_timeout', $1::text, true), set_config('statement_timeout', '0', true)
