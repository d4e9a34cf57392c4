-- Enqueue jobs that are given as one text; see asyncjobs.enqueue_given.
-- $1 a JSON array  $2 whether all of them or none
-- Rows: one; a JSON array of what was done. Locks: see enqueue_ordered.sql.
select asyncjobs.enqueue_given(given.jobs, $2::boolean) as made
from (
  select case when current_setting('lock_timeout') = '0' then set_config('lock_timeout', '25s', true) end as bound, $1::text as jobs
) as given
