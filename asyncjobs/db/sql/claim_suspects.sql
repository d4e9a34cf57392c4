-- Claim suspects: jobs that have crashed twice.
-- $1 queues, in order  $2 at most so many  $3 kinds  $4 max_crashes of each  $5 this worker
-- $6 whether they run in processes of their own
-- Rows: as claim.sql's, pool and range 0; `refused` 3: it has crashed as often as its kind allows.
-- Locks: the claimed rows, SKIP LOCKED. Index: job_for_suspects, one descent a queue.
with picked as materialized (
  select found.ctid, found.crashes >= found.most as over
  from unnest($1::text[]) with ordinality as wanted(queue, n)
  cross join lateral (
    select job.ctid, job.crashes, known.most
    from asyncjobs.job
    join unnest($3::text[], $4::integer[]) as known(kind, most) on known.kind = job.kind
    where job.state = 1 and job.crashes > 1 and job.queue = wanted.queue
    order by job.priority, job.seq
    limit $2::integer
    for no key update of job skip locked
  ) as found
  where exists (select from asyncjobs.worker where id = $5::uuid and dead_at is null)
  limit $2::integer
)
update asyncjobs.job
set state = 2, fence = nextval('asyncjobs.fence_seq'), worker = $5::uuid, started_at = clock_timestamp(), apart = $6::boolean,
    attempt = case when cancel_reason is null and not picked.over then least(attempt, 2147483646) + 1 else attempt end
from picked
where job.ctid = picked.ctid
returning 0 as pool, 0 as range, job.priority, job.seq, job.id, job.fence, job.attempt, job.kind, job.queue, job.args,
          job.crashes, job.counts,
          case when job.cancel_reason is not null then 1 when picked.over then 3 else 0 end as refused, job.progress,
          job.apart, job.together
