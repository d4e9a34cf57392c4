-- As read_throughput.sql, of a part of the pages of the history.
-- $1 width of a stretch of time, in seconds  $2 number of stretches  $3 percentage of the pages
select floor(extract(epoch from clock_timestamp() - finished_at) / $1::float8)::integer as ago, state, count(*) as jobs
from asyncjobs.finished tablesample system ($3::real)
where finished_at > (select clock_timestamp() - make_interval(secs => $1::float8 * $2::integer))
group by 1, 2
