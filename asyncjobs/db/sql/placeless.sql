-- The jobs with unique keys that would add no ready job to their queues.
-- $1 a JSON array; see asyncjobs.placeless
-- Rows: one; a JSON array of keys.
select asyncjobs.placeless($1::text)
