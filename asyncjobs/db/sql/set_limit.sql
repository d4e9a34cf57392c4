-- Say at run time how many jobs run at once under a limit.
-- $1 a shared key, a kind, a limit or one of its keys  $2 so many, or null: what the configuration or the code says
-- Rows: one; of how many limits and keys that was said. Locks: see asyncjobs.set_limit.
select asyncjobs.set_limit($1::text, $2::integer)
