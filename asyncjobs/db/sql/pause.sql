-- Pause a queue or a kind.
-- $1 queue or kind  $2 its names  $3 until, or null  $4 seconds from now instead, or null  $5 reason  $6 who pauses it
-- Rows: one; false if `until` is in the past.
-- Locks: see asyncjobs.pause.
select asyncjobs.pause($1::text, $2::text[], $3::timestamptz, $4::float8, $5::text, $6::text)
