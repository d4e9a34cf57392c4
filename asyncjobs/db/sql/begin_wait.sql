-- Begin the wait of a running job.
-- $1 id  $2 fence  $3 number and $4 name of the step  $5 event (null: a sleep)  $6 its key  $7 seconds (null: no limit)
-- $8 attributes (JSON text; null: as they are)
-- Rows: none when the lease is lost; else one: state, result, seconds left.
select * from asyncjobs.begin_wait($1::uuid, $2::bigint, $3::integer, $4::text, $5::text, $6::text, $7::float8, $8::text)
