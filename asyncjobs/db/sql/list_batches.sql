-- Batches, newest first, with the numbers of their own jobs by state, as far as they are counted.
-- $1 ids below this one, or null  $2 number of batches, at most  $3 number of jobs to count in each, at most  $4 one alone, or null
-- $5 parts of this one alone, or null
-- Rows: one a batch; `by_state`: a JSON object of numbers by the numbers of states; `cut`: it has more jobs.
-- Index: batch_pkey backwards, or batch_of_parent; job_of_batch, finished_of_batch of each partition.
select batch.id, batch.parent, batch.description, batch.settled, asyncjobs.shown(batch.made_at) as made_at,
       asyncjobs.shown(batch.discarded_at) as discarded_at, asyncjobs.shown(batch.finished_at) as finished_at,
       asyncjobs.shown(batch.succeeded_at) as succeeded_at, counted.by_state, counted.jobs > $3::integer as cut
from (
  (select * from (select id from asyncjobs.batch where $4::uuid is null and $5::uuid is null
                    and id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                  order by id desc limit $2::integer) as newest)
  union all
  (select id from asyncjobs.batch where id = $4::uuid)
  union all
  (select id from asyncjobs.batch where parent = $5::uuid limit $2::integer)
) as wanted
cross join lateral (
  select id, parent, description, settled, made_at, discarded_at, finished_at, succeeded_at, gone
  from asyncjobs.batch where batch.id = wanted.id offset 0
) as batch
cross join lateral (
  select sum(number)::bigint as jobs, coalesce(json_object_agg(state, number) filter (where number > 0), '{}')::text as by_state
  from (
    select state, sum(number) as number
    from (
      select state, count(*) as number
      from (select state from asyncjobs.job where job.batch = batch.id limit $3::integer + 1) as live group by state
      union all
      select state, count(*)
      from (select state from asyncjobs.finished where finished.batch = batch.id limit $3::integer + 1) as ended group by state
      union all
      select (3 + part.n)::smallint, part.number from unnest(batch.gone) with ordinality as part(number, n)
    ) as each
    group by state
  ) as summed
) as counted
order by batch.id desc
