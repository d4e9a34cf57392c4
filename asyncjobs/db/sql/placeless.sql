-- Which jobs with unique keys would add nothing to what is ready in their queues.
-- $1 a JSON array; see asyncjobs.placeless
-- Rows: one; a JSON array of keys.
select asyncjobs.placeless($1::text)
