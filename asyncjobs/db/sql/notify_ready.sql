-- Wake the workers for rows that were inserted without a notice.
-- $1 queues, distinct  $2 the least seq to look from in each; 0 looks at the whole queue
-- Rows: one a queue.
select pg_notify('asyncjobs_ready', seq || ' ' || queue) from unnest($1::text[], $2::bigint[]) as q(queue, seq)
