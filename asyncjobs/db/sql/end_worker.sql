-- Declare one worker dead that is known to be: it stopped, or its supervisor reaped it.
-- $1 worker  $2 how it ended (a signal's name, an exit code), or null
-- Rows: none or one.
update asyncjobs.worker set dead_at = clock_timestamp(), ended = $2::text where id = $1::uuid and dead_at is null returning id
