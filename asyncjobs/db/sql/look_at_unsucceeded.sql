-- Jobs of one state that have ended otherwise than well, newest first, among the next $6 of these by id.
-- $1 state  $2 kind, or null  $3 queue, or null  $4 text anywhere in their errors, escaped as in JSON, or null
-- $5 ids below this one, or null  $6 number of jobs to look at  $7 number of rows, at most
-- Rows: as look_at_newest.sql.
-- Index: finished_unsucceeded of each partition, backwards; job_status by id.
with looked as materialized (
  select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false) as says
  from asyncjobs.finished where state > 4 and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  order by id desc limit $6::integer
), matching as materialized (
  select id from looked
  where state = $1::smallint and says and ($2::text is null or kind = $2::text) and ($3::text is null or queue = $3::text)
  order by id desc limit $7::integer
)
select (select count(*) from looked) as looked_at, (select id from looked order by id limit 1) as last, job.*
from (values (true)) as always
left join (
  matching cross join lateral (
    select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, error,
           labels
    from asyncjobs.job_status where job_status.id = matching.id limit 1
  ) as job
) on true
order by job.id desc
