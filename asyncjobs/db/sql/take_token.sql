-- Take the next token of a rate.
-- $1 its key  $2 seconds between two tokens  $3 tokens that the bucket holds
-- Rows: one; in how many seconds the token is due, 0: by now. Locks: see asyncjobs.take_token.
select asyncjobs.take_token($1::text, $2::float8, $3::integer)
