-- Wake the workers for rows that were inserted without a notice.
-- $1 queues, distinct  $2 the least seq to look from; 0: the whole queue, the greatest bigint: from the workers' positions on
-- Rows: one a queue.
select pg_notify('asyncjobs_ready', $2::bigint || ' ' || left(queue, 64)) from unnest($1::text[]) as q(queue)
