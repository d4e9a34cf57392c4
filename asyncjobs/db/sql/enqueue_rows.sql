-- Enqueue jobs in one statement, for a role that may not write the table; see enqueue_many.sql, whose parameters these are.
-- Rows: one; how many were made. Fails if an id exists already: they must be new.
select asyncjobs.enqueue_rows($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::timestamptz[], $7::float8[],
                              $8::text, $9::text, $10::smallint, $11::float8[], $12::text[], $13::text[]) as made
