-- Bound the time of each statement until the transaction ends. $1 the time, as statement_timeout takes it
-- Rows: one.
select set_config('statement_timeout', $1::text, true)
