-- Batches by their ids, and whether each is settled.
-- Security definer: a role that awaits a batch knows its id.
create or replace function asyncjobs.batches(ids uuid[]) returns table (id uuid, settled boolean)
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select batch.id, batch.settled from asyncjobs.batch where batch.id = any(batches.ids)
$$;
