-- Jobs that match, newest first by id (a UUIDv7 begins with its time).
-- wanted: see asyncjobs.condition; most: number of jobs.
-- Rows: no arguments and no results, which a viewer may not read; of the errors the last one, one JSON line.
-- With the caller's rights: a viewer may search by anything but arguments.
-- Index: without labels job_pkey and finished_by_id of each partition, backwards, merged. With labels job_by_label and
-- finished_by_label, unless more than 10,000 jobs match: then the walk by id finds a page among few, and sorts nothing. Which of
-- both is found by counting, since the estimate of how many jobs have a label is wrong by any factor: among 1,000,000 jobs a walk
-- for a label of three of them would read all.
create or replace function asyncjobs.find(wanted json, most integer) returns table (
  id uuid, state smallint, kind text, queue text, priority smallint, attempt integer, crashes smallint, enqueued_at timestamptz,
  run_at timestamptz, started_at timestamptz, finished_at timestamptz, worker uuid, reason text, error text, labels text[]
)
language plpgsql stable
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
set jit = off
as $$
declare
  source text := format(
    'select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, '
    'error, labels from asyncjobs.job_status where %s', asyncjobs.condition(find.wanted));
begin
  if find.wanted -> 'labels' is not null or find.wanted -> 'searchable' is not null then
    if asyncjobs.count(find.wanted, 10001) <= 10000 then
      source := format('with found as materialized (%s) select * from found', source);
    end if;
  end if;
  return query execute format('%s order by id desc limit %s', source, find.most);
end
$$;
