-- Jobs of any state, or of one in which jobs are final, newest first, among the next $6 of these by id.
-- $1 state, or null  $2 kind, or null  $3 queue, or null  $4 text anywhere in their errors, escaped as in JSON, or null
-- $5 ids below this one, or null  $6 number of jobs to look at  $7 number of rows, at most
-- Rows: at least one: how many were looked at, the last of them (null: none), and a job (its columns null: none matches).
-- Index: job_pkey, and of each partition finished_by_id or finished_unsucceeded for a state without success, backwards;
-- job_status by id. Of the three parts only those are begun whose condition on $1 holds.
with looked as materialized (
  select id, state, kind, queue, $4::text is null or coalesce(strpos(errors, $4::text) > 0, false) as says
  from (
    (select id, state, kind, queue, errors from asyncjobs.job
     where $1::smallint is null and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
     order by id desc limit $6::integer)
    union all
    (select id, state, kind, queue, errors from asyncjobs.finished
     where ($1::smallint is null or $1::smallint = 4) and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
     order by id desc limit $6::integer)
    union all
    (select id, state, kind, queue, errors from asyncjobs.finished
     where $1::smallint > 4 and state > 4 and id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
     order by id desc limit $6::integer)
  ) as any_of_them
  order by id desc limit $6::integer
), matching as materialized (
  select id from looked
  where ($1::smallint is null or state = $1::smallint) and says
    and ($2::text is null or kind = $2::text) and ($3::text is null or queue = $3::text)
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
