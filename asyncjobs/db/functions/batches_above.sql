-- A batch and the batches of which it is a part.
-- Security definer: as asyncjobs.batches.
create or replace function asyncjobs.batches_above(id uuid) returns setof uuid
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  with recursive above as (
    select batch.id, batch.parent from asyncjobs.batch where batch.id = batches_above.id
    union
    select whole.id, whole.parent
    from above cross join lateral (select batch.id, batch.parent from asyncjobs.batch where batch.id = above.parent offset 0) as whole
  )
  select above.id from above
$$;
