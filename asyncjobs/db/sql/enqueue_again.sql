-- Enqueue one job that was sent before, and may exist already or be finished.
-- Parameters and rows as enqueue_once.sql's. Refused above READ COMMITTED unless the job is seen.
-- Locks: the new row; waits for another transaction that is inserting the same id.
select asyncjobs.enqueue_again($1::uuid, $2::text, $3::text, $4::integer, $5::timestamptz, $6::float8, $7::text,
                               $8::float8) as made
