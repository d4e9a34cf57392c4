-- What one job waits for, as far as its own row and its queue say.
-- $1 id  $2 kinds that the workers of its queue know  $3 look at so many ready jobs before it  $4 count no further than this
-- Rows: none or one; no arguments. `due_in` in seconds, negative when it is past; `since` in seconds: how long it has run, or
-- ended; `ahead`: ready jobs of its queue that come before it and that somebody would take; of the errors the last one;
-- `step`, `event` and `key`: the sleep or the wait that it is in.
-- Index: as asyncjobs.job_status, job_for_claim (one range), step_pkey.
with one as materialized (
  select id, state, kind, queue, priority, seq, attempt, crashes, error, reason, cancel_reason, run_at, expires_at, started_at,
         finished_at, worker, counts, apart, together
  from asyncjobs.job_status where id = $1::uuid
  limit 1
)
select id, one.state, kind, queue, one.attempt, crashes, one.error, reason, cancel_reason, run_at,
       extract(epoch from run_at - clock_timestamp())::float8 as due_in,
       one.attempt = 0 and coalesce(expires_at <= clock_timestamp(), false) as expired,
       one.started_at, one.finished_at,
       extract(epoch from clock_timestamp() - coalesce(one.finished_at, one.started_at))::float8 as since, worker,
       case when one.state = 1 then (
         select count(*)
         from (select from (
                 select job.kind from asyncjobs.job
                 where job.state = 1 and job.queue = one.queue and (job.priority, job.seq) < (one.priority, one.seq)
                 order by job.priority, job.seq limit $3::integer
               ) as before
               where before.kind = any($2::text[]) limit $4::integer) as counted
       ) else 0 end as ahead, step.name as step, step.event, step.key, one.counts, one.apart, one.together
from one
left join asyncjobs.step on one.state in (0, 3) and step.job = one.id and step.state in ('sleeping', 'waiting')
limit 1
