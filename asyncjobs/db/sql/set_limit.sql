-- Set by hand how many jobs run at once under a limit.
-- $1 a shared key, a kind, a limit or one of its keys  $2 the number, or null: as the configuration or the code has it
-- Rows: one; the number of limits and keys that were changed. Locks: see asyncjobs.set_limit.
select asyncjobs.set_limit($1::text, $2::integer)
