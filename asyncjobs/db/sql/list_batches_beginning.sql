-- The ids of batches in a range, newest first.
-- $1 the least id  $2 the greatest  $3 number of batches, at most
-- Rows: one each. Index: batch_pkey.
select id from asyncjobs.batch where id >= $1::uuid and id <= $2::uuid order by id desc limit $3::integer
