-- Enqueue jobs whose ids are new, for roles that may not write the table: as enqueue_many.sql, with its parameters.
-- Returns how many were made. Fails if an id exists already.
-- Locks: the new rows.
create or replace function asyncjobs.enqueue_rows(
  ids uuid[], args text[], kinds text[], queues text[], priorities smallint[], run_at timestamptz[], delays double precision[],
  kind text, queue text, priority smallint, expires_in double precision[], labels text[] default '{}',
  searchable text[] default '{}'
) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  now timestamptz := clock_timestamp();
  made integer;
  told integer;
begin
  perform asyncjobs.check_jobs(g.kind, g.queue, g.priority, max(octet_length(g.args)), min(g.run_at), max(g.run_at))
  from (
    select coalesce(g.kind, enqueue_rows.kind) as kind, coalesce(g.queue, enqueue_rows.queue) as queue,
           coalesce(g.priority, enqueue_rows.priority) as priority, g.args, g.run_at
    from unnest(enqueue_rows.kinds, enqueue_rows.queues, enqueue_rows.priorities, enqueue_rows.args, enqueue_rows.run_at)
         as g(kind, queue, priority, args, run_at)
  ) as g
  group by g.kind, g.queue, g.priority;
  perform asyncjobs.check_labels(g.labels::text[], g.searchable::text[])
  from unnest(enqueue_rows.labels, enqueue_rows.searchable) as g(labels, searchable);
  with given as materialized (
    select g.id, g.args, coalesce(g.kind, enqueue_rows.kind) as kind, coalesce(g.queue, enqueue_rows.queue) as queue,
           coalesce(g.priority, enqueue_rows.priority) as priority, g.expires_in, g.labels, g.searchable,
           coalesce(g.run_at, now + make_interval(secs => coalesce(g.delay, 0))) as due
    from unnest(enqueue_rows.ids, enqueue_rows.args, enqueue_rows.kinds, enqueue_rows.queues, enqueue_rows.priorities,
                enqueue_rows.run_at, enqueue_rows.delays, enqueue_rows.expires_in, enqueue_rows.labels, enqueue_rows.searchable)
         as g(id, args, kind, queue, priority, run_at, delay, expires_in, labels, searchable)
  ), made as (
    insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at, labels, searchable)
    select id, kind, queue, priority, due, case when due > now then 0 else 1 end, args,
           due + make_interval(secs => expires_in), labels::text[], searchable::text[]
    from given
    returning queue, seq, state, run_at
  ), ready as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from made
    where state = 1 group by queue
  ), due as (
    select pg_notify('asyncjobs_due', '') from made
    where state = 0 and run_at < clock_timestamp() + interval '2 seconds' limit 1
  )
  select (select count(*) from made), (select count(*) from ready) + (select count(*) from due) into made, told;
  return made;
end
$$;
