-- Enqueue the callbacks of batches that are over.
-- $1 ids
-- Rows: one; the batches of which they are parts, to be looked at next.
-- Locks: as asyncjobs.settle_batches.
select asyncjobs.settle_batches($1::uuid[]) as above
