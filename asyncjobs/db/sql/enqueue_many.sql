-- Enqueue many jobs in one statement, due now or later.
-- $1 ids  $2 args (JSON text)  $3 kinds  $4 queues  $5 priorities  $6 due at, or null  $7 due in so many seconds, or null
-- $8 kind, $9 queue, $10 priority of all, where $3, $4, $5 are empty; empty $6 and $7: due now
-- $11 seconds after it is due within which it must start, or it is discarded; null, or empty: no limit
-- $12 labels and $13 searchable arguments of each, as texts of arrays; null, or empty: none
-- Rows: one; how many were made, and how many notices went out. Fails if an id exists already: they must be new.
-- Locks: the new rows. NOTIFY once a queue, with the least seq, to which a worker lowers its position.
with given as materialized (
  select g.id, g.args, coalesce(g.kind, $8::text) as kind, coalesce(g.queue, $9::text) as queue,
         coalesce(g.priority, $10::smallint) as priority, now.now, g.expires_in, g.labels, g.searchable,
         coalesce(g.run_at, now.now + make_interval(secs => coalesce(g.delay, 0))) as due
  from (select clock_timestamp() as now) as now,
       unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[], $7::float8[],
              $11::float8[], $12::text[], $13::text[])
       as g(id, args, kind, queue, priority, run_at, delay, expires_in, labels, searchable)
), made as (
  insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at, labels, searchable)
  select id, kind, queue, priority, due, case when due > now then 0 else 1 end, args,
         due + make_interval(secs => expires_in), labels::text[], searchable::text[]
  from given
  returning queue, seq, state, run_at
), ready as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from made where state = 1 group by queue
), due as (
  select pg_notify('asyncjobs_due', '') from made
  where state = 0 and run_at < clock_timestamp() + interval '2 seconds' limit 1
)
select (select count(*) from made) as made, (select count(*) from ready) + (select count(*) from due) as told
