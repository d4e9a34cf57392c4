-- The next items of a stream. $1 job  $2 the number after which they come  $3 number of items, at most
-- Rows: n, attempt, sent_at, value (JSON), in their order; fewer when they are large: see asyncjobs.stream.
select n, attempt, sent_at, value from asyncjobs.stream($1::uuid, $2::bigint, $3::integer)
