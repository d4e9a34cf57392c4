-- Enqueue jobs with limits, unique keys, a batch or a place in a chain.
-- $1 ids  $2 kinds  $3 queues  $4 priorities  $5 args  $6 due at, or null  $7 due in so many seconds, or null  $8 seconds after that
-- within which it must start, or null  $9 limits, unique key, batch and chain of each (JSON text)
-- $10 the time to wait for a key that another transaction holds, such as 25s, where the session has no lock_timeout
-- Rows: one for each, in the order of their keys; its number, the id of the job that there is, and what was done.
-- Locks: see asyncjobs.enqueue_ordered. Another transaction may hold a key for hours. The wait ends before the client gives up the
-- connection: so the caller has an answer, and the server does not insert the job later.
select n, id, disposition
from (
  select case when current_setting('lock_timeout') = '0' then set_config('lock_timeout', $10::text, true) end as bound, $9::text[] as orders
) as given
cross join lateral asyncjobs.enqueue_ordered($1::uuid[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::timestamptz[],
                                             $7::float8[], $8::float8[], given.orders)
