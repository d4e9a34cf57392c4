-- A batch and the batches of which it is a part.
-- Security definer: as asyncjobs.batches.
create or replace function asyncjobs.batches_above(id uuid) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with recursive above as (
    select batch.id, batch.parent from asyncjobs.batch where batch.id = batches_above.id
    union
    select batch.id, batch.parent from above join asyncjobs.batch on batch.id = above.parent
  )
  select above.id from above
$$;
