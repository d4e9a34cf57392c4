-- The limit at which a job waits, and the jobs that hold its places.
-- $1 id  $2 number of holders, at most
-- Rows: none, or one: the key, the number that may run at once (null: any) and its source, how many hold a place, seconds until the next start
-- (null: no rate, or it is due), how many wait before it (counted to 1,000), and the first holders as an array of ids.
-- Index: job_for_limits.
with one as materialized (
  select job.limit_key as key, job.priority, job.seq
  from (select limit_key, priority, seq, admitted, state from asyncjobs.job where id = $1::uuid offset 0) as job
  where job.limit_key is not null and job.admitted is distinct from job.seq and job.admitted is distinct from -1
    and job.state in (1, 2)
), holder as materialized (
  select job.id, job.state
  from one
  cross join lateral (
    select job.id, job.state from asyncjobs.job
    where job.limit_key = one.key and job.state in (1, 2)
      and (case when job.admitted = job.seq then 0 when job.state = 1 then 2 when job.admitted is null then 1 else 3 end) = 0
    offset 0
  ) as job
  union all
  select job.id, job.state
  from one
  cross join lateral (select pass.job, pass.seq from asyncjobs.limit_pass as pass where pass.key = one.key offset 0) as pass
  cross join lateral (select job.id, job.state, job.seq, job.limit_key from asyncjobs.job where job.id = pass.job offset 0) as job
  where job.seq = pass.seq and job.state in (1, 2) and job.limit_key <> one.key
)
select one.key, coalesce(limit_key.most, limits.most_by_hand, limits.most_by_config, limits.most) as most,
       case when coalesce(limit_key.most, limits.most_by_hand) is not null then 'hand'
            when limits.most_by_config is not null then 'config' else 'code' end as said_by, limits.name is not null as is_known,
       (select count(*) from holder) as held,
       nullif(greatest(extract(epoch from limit_key.next_start - clock_timestamp()) + (1 - limits.burst) * limits.spacing, 0), 0)::float8
         as next_start,
       (select count(*) from (
          select from asyncjobs.job
          where job.limit_key = one.key and job.state in (1, 2)
            and (case when job.admitted = job.seq then 0 when job.state = 1 then 2 when job.admitted is null then 1 else 3 end) = 2
            and (job.priority, job.seq) < (one.priority, one.seq) limit 1000) as before) as ahead,
       array(select id from holder order by state desc, id limit $2::integer) as holders
from one
left join lateral (select most, next_start from asyncjobs.limit_key where key = one.key offset 0) as limit_key on true
left join asyncjobs.limits on limits.name = split_part(one.key, ' ', 1)
