-- Pick one ready job by its id. The text of claim.sql from its update on follows, with its last three parameters after the id.
-- $1 its id  $2 the worker  $3 kinds that run in processes of their own  $4 kinds that may not crash a second time
-- Rows: as claim.sql's, pool and range 1; none: it is not ready any more, or its row is locked.
with picked as materialized (
  select ctid, 1 as pool, 1 as range from asyncjobs.job where id = $1::uuid and state = 1
  for no key update skip locked
)
