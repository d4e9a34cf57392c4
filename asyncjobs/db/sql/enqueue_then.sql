-- Enqueue what jobs have left to be enqueued with their success; see asyncjobs.enqueue_then.
-- $1 ids  $2 fences  $3 texts
-- Rows: one; how many parts were refused for a unique key.
select asyncjobs.enqueue_then($1::uuid[], $2::bigint[], $3::text[]) as refused
