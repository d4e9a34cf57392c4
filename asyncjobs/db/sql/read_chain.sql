-- The chain of a job: the jobs before and after it.
-- $1 id  $2 number of jobs on each side, at most
-- Rows: in their order, the job itself at place 0; none if it is in no chain. kind and state are null for a job whose row is gone.
-- Index: link_pkey, link_by_after; as asyncjobs.job_status.
with recursive before as (
  select link.after as id, -1 as place from asyncjobs.link where link.job = $1::uuid and not link.anyhow
  union all
  select link.after, before.place - 1
  from before
  cross join lateral (select link.after from asyncjobs.link where link.job = before.id and not link.anyhow offset 0) as link
  where before.place > -$2::integer
), later as (
  select link.job as id, 1 as place from asyncjobs.link where link.after = $1::uuid and not link.anyhow
  union all
  select link.job, later.place + 1
  from later
  cross join lateral (select link.job from asyncjobs.link where link.after = later.id and not link.anyhow offset 0) as link
  where later.place < $2::integer
), found as (
  select id, place from before union all select id, place from later
)
select one.id, one.place, shown.kind, shown.state
from (select id, place from found union all select $1::uuid, 0 from (select from found limit 1) as any_of_it) as one
left join lateral (
  select job_status.kind, job_status.state from asyncjobs.job_status where job_status.id = one.id limit 1
) as shown on true
order by one.place
