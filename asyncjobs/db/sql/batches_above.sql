-- A batch and the batches of which it is a part.
-- $1 id
-- Rows: their ids.
select asyncjobs.batches_above($1::uuid) as id
