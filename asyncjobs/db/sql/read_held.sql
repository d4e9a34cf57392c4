-- The jobs that run under a worker's lease: a worker asks for its own after a claim whose answer was lost.
-- $1 worker  $2 kinds that this worker knows  $3 max_crashes of each
-- Rows: one for each job; id, fence, and whether its claim has counted no attempt, since it is not to be run: see claim.sql.
-- Index: job_for_rescue.
select id, fence, cancel_reason is not null or attempt = 0 or crashes >= coalesce(known.most, 32767) as refused
from asyncjobs.job
left join unnest($2::text[], $3::integer[]) as known(kind, most) on known.kind = job.kind and job.crashes > 0
where worker = $1::uuid and state = 2
