-- The status of a batch: its own jobs and those of its parts, at any depth.
-- Rows: none (there is no such batch) or one; by_state: a JSON object of the numbers of jobs by the numbers of their states.
-- Jobs whose rows were dropped from the history count by how they had ended.
-- Security definer: an enqueuer may ask about a batch whose id it knows.
create or replace function asyncjobs.batch_status(id uuid) returns table (
  id uuid, parent uuid, description text, settled boolean, made_at timestamptz, discarded_at timestamptz, finished_at timestamptz,
  succeeded_at timestamptz, by_state text
)
language sql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
as $$
  with recursive tree as (
    select batch.id, batch.gone from asyncjobs.batch where batch.id = batch_status.id
    union                                   -- whoever may begin batches may make one a part of itself
    select part.id, part.gone
    from tree cross join lateral (select batch.id, batch.gone from asyncjobs.batch where batch.parent = tree.id offset 0) as part
  ), counted as (
    select each.state, sum(each.number) as number
    from tree
    cross join lateral (
      select job.state, count(*) as number from asyncjobs.job where job.batch = tree.id group by job.state
      union all
      select finished.state, count(*) from asyncjobs.finished where finished.batch = tree.id group by finished.state
      union all
      select (3 + part.n)::smallint, part.number from unnest(tree.gone) with ordinality as part(number, n)
    ) as each
    group by each.state
    having sum(each.number) > 0
  )
  select batch.id, batch.parent, batch.description, batch.settled, asyncjobs.shown(batch.made_at),
         asyncjobs.shown(batch.discarded_at), asyncjobs.shown(batch.finished_at), asyncjobs.shown(batch.succeeded_at), (select coalesce(json_object_agg(counted.state, counted.number), '{}')::text from counted)
  from asyncjobs.batch where batch.id = batch_status.id
$$;
