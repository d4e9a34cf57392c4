-- Jobs of any state among the next $5 by id, newest first.
-- $1 kind, or null  $2 queue, or null  $3 text anywhere in their errors, escaped as in JSON, or null  $4 ids below this one, or null
-- $5 number of jobs to look at, of live and of ended ones each  $6 number of rows, at most
-- Rows: at least one: how many were looked at, the last of them (null: none), and a job (its columns null: none matches).
-- Index: job_pkey and finished_by_id of each partition, backwards; job_status by id.
with live as materialized (
  select id, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false) as says
  from asyncjobs.job where id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit $5::integer
), ended as materialized (
  select id, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false) as says
  from asyncjobs.finished where id < coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') order by id desc limit $5::integer
), looked as materialized (
  select * from (select * from live union all select * from ended) as both_of_them order by id desc limit $5::integer
), matching as materialized (
  select id from looked
  where says and ($1::text is null or kind = $1::text) and ($2::text is null or queue = $2::text)
  order by id desc limit $6::integer
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
