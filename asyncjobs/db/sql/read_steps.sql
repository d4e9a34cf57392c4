-- The step records of a job, in their order.
-- $1 id of the job
-- Rows: number, name, state, result, cursor, seconds left of a wait (null: no limit, or no wait), the jobs that it runs, its form.
-- Index: the primary key.
select n, name, state, result, cursor, extract(epoch from wakes_at - clock_timestamp())::float8 as remaining,
       children, case when children is not null then 'jobs' when event is not null then 'wait'
                      when wakes_at is not null then 'sleep' else 'code' end as form
from asyncjobs.step where job = $1::uuid order by n
