-- Tell a worker to claim nothing, or to claim again; it hears of it with its next beat.
-- $1 worker  $2 whether it is to be quiet
-- Rows: its host, if it is alive. Index: the primary key.
update asyncjobs.worker set quiet = $2::boolean where id = $1::uuid and dead_at is null returning host
