-- Enqueue many jobs in one statement, due now or later.
-- $1 ids  $2 kinds  $3 queues  $4 priorities  $5 due at, or null  $6 due in so many seconds, or null  $7 args (JSON text)
-- Rows: one; how many were made, and how many notices went out. Fails when an id is there already: they must be new.
-- Locks: the new rows. NOTIFY once a queue, with the least seq, so that a worker's mark is lowered to it.
with given as materialized (
  select g.*, coalesce(g.run_at, clock_timestamp() + make_interval(secs => coalesce(g.delay, 0))) as due,
         clock_timestamp() as now
  from unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::timestamptz[], $6::float8[], $7::text[])
       as g(id, kind, queue, priority, run_at, delay, args)
), made as (
  insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args)
  select id, kind, queue, priority, due, case when due > now then 0 else 1 end, args from given
  returning queue, seq, state, run_at
), ready as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || queue) from made where state = 1 group by queue
), due as (
  select pg_notify('asyncjobs_due', '') from made
  where state = 0 and run_at < clock_timestamp() + interval '2 seconds' limit 1
)
select (select count(*) from made) as made, (select count(*) from ready) + (select count(*) from due) as told
