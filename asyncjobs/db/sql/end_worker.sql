-- Declare one worker dead that is known to be: it stopped, or its supervisor reaped it.
-- $1 worker
-- Rows: none or one.
update asyncjobs.worker set dead_at = clock_timestamp() where id = $1::uuid and dead_at is null returning id
