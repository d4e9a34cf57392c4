-- Enqueue a job of what recurs now, by hand, and note it.
-- $1 name  $2 id of the job  $3 the time of the database
-- Rows: one; the id of the job that there is now, which is another where that has the unique key, and what was done. None: there
-- is no such.
-- Locks: as asyncjobs.enqueue_ordered.
with made as (
  select m.id, m.disposition
  from asyncjobs.recurring
  cross join lateral asyncjobs.enqueue_ordered(
    array[$2::uuid], array[kind], array[queue], array[priority::integer], array[args], array[null::timestamptz],
    array[null::float8], array[expires_in],
    array[(coalesce(job_order, '{}')::jsonb || jsonb_build_object('tick', $3::timestamptz))::text]) as m
  where name = $1::text and removed_at is null
), noted as (
  insert into asyncjobs.recurring_tick (name, tick, job, came_to)
  select $1::text, $3::timestamptz, id, 'by hand' from made where disposition = 'enqueued'
)
select id, disposition from made
