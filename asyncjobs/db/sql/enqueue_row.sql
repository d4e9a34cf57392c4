-- Enqueue one job, for a role that may not write the table; see enqueue_one.sql.
-- $1 id  $2 kind  $3 queue  $4 priority  $5 args (JSON text)  $6 whether to send no notice
-- Rows: one, without a meaning. Fails if the id exists already: it must be new.
select asyncjobs.enqueue_row($1::uuid, $2::text, $3::text, $4::smallint, $5::text, $6::boolean)
