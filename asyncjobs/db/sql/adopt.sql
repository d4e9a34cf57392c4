-- Insert a job that has begun elsewhere, with its attributes and the records of its steps.
-- $1 id  $2 kind  $3 queue  $4 priority  $5 arguments  $6 attributes  $7 steps (all JSON text)  $8 labels
-- $9 searchable arguments
select asyncjobs.adopt($1::uuid, $2::text, $3::text, $4::integer, $5::text, $6::text, $7::text, $8::text[], $9::text[])
