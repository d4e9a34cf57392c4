-- Claim suspects: jobs that have crashed twice.
-- $1 queues, in order  $2 number of jobs, at most  $3 kinds  $4 max_crashes of each  $5 this worker
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
    where job.state = 1 and job.crashes > 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = wanted.queue
      and job.kind <> all(array(select name from asyncjobs.pause
                                where scope = 'kind' and (until is null or until > (select clock_timestamp()))))
    order by job.priority, job.seq
    limit $2::integer
    for no key update of job skip locked
  ) as found
  where exists (select from asyncjobs.worker where id = $5::uuid and dead_at is null)
    and wanted.queue <> all(array(select name from asyncjobs.pause
                                  where scope = 'queue' and (until is null or until > (select clock_timestamp()))))
  limit $2::integer
), claimed as (
  update asyncjobs.job
  set state = 2, fence = nextval('asyncjobs.fence_seq'), worker = $5::uuid, started_at = clock_timestamp(), apart = $6::boolean,
      unique_until = case when unique_until = 1 then -2 else unique_until end,
      attempt = case when cancel_reason is null and not picked.over then least(attempt, 2147483646) + 1 else attempt end
  from picked
  where job.ctid = picked.ctid
  returning 0 as pool, 0 as range, job.priority, job.seq, job.id, job.fence, job.attempt, job.kind, job.queue, job.args,
            job.crashes, job.counts,
            case when job.cancel_reason is not null then 1 when picked.over then 3 end as refused, job.progress,
            job.limit_key is not null as limited, job.batch, extract(epoch from job.tick)::text as tick,
            date_part('epoch', job.started_at) - date_part('epoch', job.run_at) as waited, job.labels,
            job.apart, job.together, job.limit_keys, job.limit_kind,
            job.started_at
), noted as (
  insert into asyncjobs.limit_note (key, started_at)    -- the starts of those under rates; see count_starts.sql
  select key, started_at from claimed, unnest(limit_keys) as keys(key) where limit_kind > 1
)
select pool, range, priority, seq, id, fence, attempt, kind, queue, args, crashes, counts, refused, progress, limited, batch, tick,
       waited, labels, apart, together
from claimed
