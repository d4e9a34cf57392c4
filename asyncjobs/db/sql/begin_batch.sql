-- Store a batch and its parts; see asyncjobs.begin_batch.
-- $1 a JSON array
-- Rows: one; whether they were made.
select asyncjobs.begin_batch($1::text) as made
