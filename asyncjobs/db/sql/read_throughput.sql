-- The numbers of jobs that ended, by time and state.
-- $1 width of a stretch of time, in seconds  $2 number of stretches
-- Rows: `ago`: the stretch, 0 the last one. Index: finished_by_time of each partition. It counts all of them; the caller's
-- statement_timeout bounds it.
select floor(extract(epoch from clock_timestamp() - finished_at) / $1::float8)::integer as ago, state, count(*) as jobs
from asyncjobs.finished
where finished_at > (select clock_timestamp() - make_interval(secs => $1::float8 * $2::integer))
group by 1, 2
