-- The number of jobs in each state, as far as they are counted.
-- $1 kind, or null  $2 queue, or null  $3 text anywhere in their errors, escaped as in JSON, or null
-- $4 number of jobs to look at: ready ones, running ones, scheduled and waiting ones, ended ones, and those that did not succeed
-- Rows: one for each state; `jobs` that match among those; `cut`: there are more to look at.
-- Index: job_for_claim, job_at_limits, job_for_promotion, job_for_rescue; finished_by_id, finished_unsucceeded of each partition.
with looked as materialized (
  (select 1 as source, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false) as says
   from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) limit $4::integer)
  union all
  (select 2, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false)
   from asyncjobs.job where state = 1 and limit_key is not null and admitted is distinct from seq limit $4::integer)
  union all
  (select 3, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false)
   from asyncjobs.job where state in (0, 3) limit $4::integer)
  union all
  (select 4, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false)
   from asyncjobs.job where state = 2 limit $4::integer)
  union all
  (select 5, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false)
   from asyncjobs.finished order by id desc limit $4::integer)
  union all
  (select 6, state, kind, queue, $3::text is null or coalesce(strpos(errors, $3::text) > 0, false)
   from asyncjobs.finished where state > 4 order by id desc limit $4::integer)
), size as materialized (
  select source, count(*) as jobs from looked group by source
), counted as materialized (
  select source, state, count(*) as jobs
  from looked
  where says and ($1::text is null or kind = $1::text) and ($2::text is null or queue = $2::text)
  group by source, state
)
select each.state, coalesce((select sum(counted.jobs) from counted
                             where counted.state = each.state and counted.source = any(each.sources)), 0)::bigint as jobs,
       exists (select from size where size.source = any(each.sources) and size.jobs >= $4::integer) as cut
from (values (0, array[3]), (1, array[1, 2]), (2, array[4]), (3, array[3]), (4, array[5]), (5, array[6]), (6, array[6]), (7, array[6]))
  as each(state, sources)
order by each.state
