-- Note of a worker that was told to stop, and of which something goes on, that its jobs are not to be charged with its death.
-- $1 worker
-- Rows: none or one.
update asyncjobs.worker set spared = true where id = $1::uuid and dead_at is null returning id
