-- Enqueue one job whose id may be known already: a resend, or the caller's own transaction.
-- $1 id  $2 kind  $3 queue  $4 priority  $5 due at, or null  $6 due in so many seconds, or null  $7 args (JSON text)
-- $8 seconds after it is due by which it is started or discarded, or null
-- Rows: one; true when the job was made, false when it was there or is finished.
-- Locks: the new row; waits for another transaction that is inserting the same id.
select asyncjobs.enqueue_once($1::uuid, $2::text, $3::text, $4::integer, $5::timestamptz, $6::float8, $7::text,
                              $8::float8) as made
