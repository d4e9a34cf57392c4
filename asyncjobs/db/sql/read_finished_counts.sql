-- The number of jobs that ended in the last 24 hours, by state.
-- Rows: one a state. Index: finished_by_time of each partition, which leaves out what ended earlier; `select`: see promote.sql. It
-- counts what is left, and the caller's statement_timeout bounds it.
select state, count(*) as jobs
from asyncjobs.finished
where finished_at > (select clock_timestamp() - interval '24 hours')
group by state order by state
