-- Batches that are not over as far as anybody has noticed.
-- $1 those after this one  $2 at most so many
-- Rows: their ids, in order.
-- Index: batch_open.
select id from asyncjobs.batch where not settled and id > $1::uuid order by id limit $2::integer
