-- Live jobs of one state, newest first: among all of it if there are few, else among the next $6 by id.
-- $1 state  $2 kind, or null  $3 queue, or null  $4 text anywhere in their errors, escaped as in JSON, or null
-- $5 ids below this one, or null  $6 number of jobs to look at  $7 number of rows, at most  $8 what is few
-- Rows: as look_at_jobs.sql; `last` is null, too, if all of the state were looked at.
-- Index: job_for_claim, job_at_limits, job_for_promotion, job_for_rescue: a stretch of one; job_pkey backwards; job_status by id.
with few as materialized (
  (select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false) as says
   from asyncjobs.job where $1::smallint = 1 and state = 1 and (limit_key is null or admitted = seq) limit $8::integer + 1)
  union all
  (select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false)
   from asyncjobs.job where $1::smallint = 1 and state = 1 and limit_key is not null and admitted is distinct from seq
   limit $8::integer + 1)
  union all
  (select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false)
   from asyncjobs.job where $1::smallint in (0, 3) and state in (0, 3) limit $8::integer + 1)
  union all
  (select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false)
   from asyncjobs.job where $1::smallint = 2 and state = 2 limit $8::integer + 1)
), are_few as materialized (
  select count(*) <= $8::integer as yes from few
), walked as materialized (
  select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false) as says
  from asyncjobs.job
  where not (select yes from are_few) and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  order by id desc limit $6::integer
), matching as materialized (
  select id
  from (select * from few where (select yes from are_few) union all select * from walked) as looked
  where state = $1::smallint and says and ($2::text is null or kind = $2::text) and ($3::text is null or queue = $3::text)
    and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  order by id desc limit $7::integer
)
select (select count(*) from walked) as looked_at, (select id from walked order by id limit 1) as last, job.*
from (values (true)) as always
left join (
  matching cross join lateral (
    select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, error,
           labels
    from asyncjobs.job_status where job_status.id = matching.id limit 1
  ) as job
) on true
order by job.id desc
