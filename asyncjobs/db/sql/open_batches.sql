-- Batches that are not known to be over.
-- $1 the id to go on after  $2 number of batches, at most
-- Rows: their ids, in order.
-- Index: batch_open.
select id from asyncjobs.batch where not settled and id > $1::uuid order by id limit $2::integer
