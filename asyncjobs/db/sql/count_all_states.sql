-- The number of jobs in each state, as far as they are counted; without a filter, as count_states.sql has one.
-- $1 number of jobs to look at in each stretch  $2 of those that did not succeed
-- Rows: as count_states.sql. Index: job_for_claim, job_at_limits and job_for_rescue alone, without the rows; the others as there.
with parked as materialized (
  select state from asyncjobs.job where state in (0, 3) limit $1::integer
), unsucceeded as materialized (
  select state from asyncjobs.finished where state > 4 order by id desc limit $2::integer
), counted as materialized (
  select 1 as state, count(*) as jobs, count(*) >= $1::integer as cut
  from (select from asyncjobs.job where state = 1 and (limit_key is null or admitted = seq) limit $1::integer) as ready
  union all
  select 1, count(*), count(*) >= $1::integer
  from (select from asyncjobs.job where state = 1 and limit_key is not null and admitted is distinct from seq limit $1::integer) as limited
  union all
  select 2, count(*), count(*) >= $1::integer from (select from asyncjobs.job where state = 2 limit $1::integer) as running
  union all
  select 4, count(*) filter (where state = 4), count(*) >= $1::integer
  from (select state from asyncjobs.finished order by id desc limit $1::integer) as ended
  union all
  select each.state, (select count(*) from parked where parked.state = each.state), (select count(*) from parked) >= $1::integer
  from (values (0), (3)) as each(state)
  union all
  select each.state, (select count(*) from unsucceeded where unsucceeded.state = each.state),
         (select count(*) from unsucceeded) >= $2::integer
  from (values (5), (6), (7)) as each(state)
)
select state, sum(jobs)::bigint as jobs, bool_or(cut) as cut from counted group by state order by state
