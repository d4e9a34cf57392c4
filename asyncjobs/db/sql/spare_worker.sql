-- Note that no crash is charged to a worker's jobs when it dies: it was told to stop, and some of its jobs go on.
-- $1 worker
-- Rows: none or one.
update asyncjobs.worker set spared = true where id = $1::uuid and dead_at is null returning id
