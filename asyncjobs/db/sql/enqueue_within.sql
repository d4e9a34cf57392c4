-- Add jobs to the batch of a running job; see asyncjobs.enqueue_within.
-- $1 id of that job  $2 its fence  $3 a JSON array
-- Rows: one; a JSON array of what was done, null: the lease is lost, 'over': the batch is. Locks: see enqueue_ordered.sql.
select asyncjobs.enqueue_within($1::uuid, $2::bigint, given.jobs) as made
from (
  select case when current_setting('lock_timeout') = '0' then set_config('lock_timeout', '25s', true) end as bound, $3::text as jobs
) as given
