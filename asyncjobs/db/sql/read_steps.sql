-- What is recorded of a job's steps, in their order.
-- $1 id of the job
-- Rows: number, name, state, result, cursor, seconds left of a wait (null: as long as it takes, or no wait), what it runs.
-- Index: the primary key.
select n, name, state, result, cursor, extract(epoch from wakes_at - clock_timestamp())::float8 as remaining,
       children
from asyncjobs.step where job = $1::uuid order by n
