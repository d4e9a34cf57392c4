-- How many jobs ended in the last 24 hours, by state.
-- Rows: one a state. No index serves it: its time grows with the history, and the caller's statement_timeout bounds it.
select state, count(*) as jobs
from asyncjobs.finished
where finished_at > clock_timestamp() - interval '24 hours'
group by state order by state
