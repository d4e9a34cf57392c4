-- Enqueue what is to follow the end of batches.
-- $1 ids
-- Rows: one; the batches of which these are parts, to be looked at next.
-- Locks: as asyncjobs.settle_batches.
select asyncjobs.settle_batches($1::uuid[]) as above
