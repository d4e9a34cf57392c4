-- Running jobs that wait for others without a timeout: some jobs, and the jobs that they wait for, directly or not.
-- $1 ids to begin with
-- Rows: id, kind, and the awaited jobs that wait themselves, since others close no cycle. In no order.
-- Index: job_pkey.
with recursive reached as (
  select given.id from unnest($1::uuid[]) as given(id)
  union
  select awaited.id
  from reached
  cross join lateral (
    select job.state, job.fence, job.waits_fence, job.waits_for from asyncjobs.job where job.id = reached.id offset 0
  ) as job
  cross join lateral unnest(job.waits_for) as awaited(id)
  where job.state = 2 and job.waits_fence = job.fence
), waiting as materialized (
  select job.id, job.kind, job.waits_for
  from reached
  cross join lateral (
    select job.id, job.kind, job.state, job.fence, job.waits_fence, job.waits_for from asyncjobs.job where job.id = reached.id offset 0
  ) as job
  where job.state = 2 and job.waits_fence = job.fence and job.waits_for is not null
)
select waiting.id, waiting.kind,
       array(select awaited.id from unnest(waiting.waits_for) as awaited(id) join waiting as other on other.id = awaited.id)
from waiting
