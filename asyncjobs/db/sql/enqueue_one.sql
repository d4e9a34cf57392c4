-- Enqueue one job and wake the workers.
-- $1 id  $2 kind  $3 queue  $4 priority  $5 args (JSON text)
-- Rows: one, `pg_notify`. Fails if the id exists already: it must be new.
-- Locks: the new row. NOTIFY takes a cluster-wide lock from the end of the statement to the commit.
with row as (
  insert into asyncjobs.job (id, kind, queue, priority, args)
  values ($1::uuid, $2::text, $3::text, $4::smallint, $5::text)
  returning queue, seq
)
select pg_notify('asyncjobs_ready', seq || ' ' || left(queue, 64)) from row
