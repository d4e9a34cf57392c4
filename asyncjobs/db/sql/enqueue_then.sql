-- Enqueue the jobs that follow the success of others; see asyncjobs.enqueue_then.
-- $1 ids  $2 fences  $3 texts
-- Rows: one; how many jobs and chains were refused for a unique key.
select asyncjobs.enqueue_then($1::uuid[], $2::bigint[], $3::text[]) as refused
