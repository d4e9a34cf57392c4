-- Resume a queue or a kind, and delete pauses that are over.
-- $1 queue or kind; null: only delete  $2 its names
-- Rows: one; how many pauses were ended before their time.
-- Locks: see asyncjobs.resume.
select asyncjobs.resume($1::text, $2::text[])
