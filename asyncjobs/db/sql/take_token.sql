-- Take the next token of a rate.
-- $1 its key  $2 seconds between two tokens  $3 tokens that the bucket holds
-- Rows: one; the seconds until the token is due, 0: it is due now. Locks: see asyncjobs.take_token.
select asyncjobs.take_token($1::text, $2::float8, $3::integer)
