-- Claim one ready job, as claim.sql and claim_suspects.sql do for a worker's slots: by its id, without arrays, whose types cost
-- asyncpg a look at the catalogue in each new session.
-- $1 its id  $2 max_crashes of its kind; null: it is not looked at  $3 the worker
-- Rows: as claim.sql's, pool and range 1; none: it is not ready any more, or its row is locked.
with picked as materialized (
  select ctid, coalesce(crashes >= $2::integer, false) as over
  from asyncjobs.job where id = $1::uuid and state = 1
  for no key update skip locked
)
update asyncjobs.job
set state = 2, fence = nextval('asyncjobs.fence_seq'), worker = $3::uuid, started_at = clock_timestamp(),
    attempt = case when cancel_reason is null and not picked.over
                    and (expires_at is null or attempt > 0 or expires_at > clock_timestamp())
                   then least(attempt, 2147483646) + 1 else attempt end
from picked
where job.ctid = picked.ctid
returning 1 as pool, 1 as range, job.priority, job.seq, job.id, job.fence, job.attempt, job.kind, job.queue, job.args,
          job.crashes, job.counts,
          case when job.cancel_reason is not null then 1 when picked.over then 3 when job.attempt = 0 then 2 else 0 end as refused,
          job.progress
