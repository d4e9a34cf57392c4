-- Batches by their ids.
-- $1 ids
-- Rows: their ids, and whether each is settled.
select id, settled from asyncjobs.batches($1::uuid[])
