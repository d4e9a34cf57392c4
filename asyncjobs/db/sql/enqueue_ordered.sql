-- Enqueue jobs that keep an order among others.
-- $1 ids  $2 kinds  $3 queues  $4 priorities  $5 args  $6 due at, or null  $7 due in so many seconds, or null  $8 seconds after that
-- by which it is started or discarded, or null  $9 what orders each (JSON text)
-- Rows: one for each, in the order of their keys; its number, the id of the job that there is, and what was done.
-- Locks: see asyncjobs.enqueue_ordered. Whom it waits for may hold a key for hours: where nothing bounds that, it gives up before
-- the connection is given up, so that the caller has an answer, and no server goes on to insert what nobody waits for any more.
select n, id, disposition
from (
  select case when current_setting('lock_timeout') = '0' then set_config('lock_timeout', '25s', true) end as bound, $9::text[] as orders
) as given
cross join lateral asyncjobs.enqueue_ordered($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[],
                                             $7::float8[], $8::float8[], given.orders)
