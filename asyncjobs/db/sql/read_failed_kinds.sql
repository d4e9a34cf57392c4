-- Failed jobs of the last seconds by kind, among those that were enqueued last.
-- $1 seconds  $2 number of the newest jobs to read that did not succeed
-- Rows: kind, jobs, `ago` (seconds since the last one failed), `exact`: whether those that were read are all; the most first.
-- Index: finished_unsucceeded of each partition, merged.
with looked as materialized (
  select state, kind, finished_at from asyncjobs.finished where state > 4 order by id desc limit $2::integer
)
select kind, count(*) as jobs, extract(epoch from clock_timestamp() - asyncjobs.shown(max(finished_at)))::float8 as ago,
       (select count(*) from looked) < $2::integer as exact
from looked
where state = 5 and finished_at > clock_timestamp() - make_interval(secs => $1::float8)
group by kind order by jobs desc, kind limit 100
