-- Enqueue one job without a notice: one that this process sends within milliseconds covers it.
-- $1 id  $2 kind  $3 queue  $4 priority  $5 args (JSON text)
-- Rows: none. Fails if the id exists already: it must be new.
-- Locks: the new row.
insert into asyncjobs.job (id, kind, queue, priority, args)
values ($1::uuid, $2::text, $3::text, $4::smallint, $5::text)
