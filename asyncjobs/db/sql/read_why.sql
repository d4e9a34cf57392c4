-- One job, with the facts on what it waits for of its own row and its queue.
-- $1 id  $2 kinds that workers know  $3 number of ready jobs before it to read  $4 number of them to count, at most
-- Rows: none or one; no arguments. `due_in` in seconds, negative when it is past; `since`: seconds since it started, or
-- ended; `ahead`: ready jobs of its queue that come before it and are of a known kind; of the errors the last one;
-- `step`, `event` and `key`: the sleep or the wait that it is in; `after` …: the job after which it starts; in a chain, if that waits
-- for its own turn, the nearest before that does not, `links` links back; `pause`: of its queue or else of its kind, as JSON.
-- Index: as asyncjobs.job_status, job_for_claim (one range), step_pkey, link_pkey.
with one as materialized (
  select id, state, kind, queue, priority, seq, attempt, crashes, error, reason, cancel_reason, run_at, expires_at, started_at,
         finished_at, worker, counts, apart, together
  from asyncjobs.job_status where id = $1::uuid
  limit 1
)
select one.id, one.state, one.kind, queue, one.attempt, crashes, one.error, reason, cancel_reason, run_at,
       extract(epoch from run_at - clock_timestamp())::float8 as due_in,
       one.attempt = 0 and coalesce(expires_at <= clock_timestamp(), false) as expired,
       one.started_at, one.finished_at,
       extract(epoch from clock_timestamp() - coalesce(one.finished_at, one.started_at))::float8 as since, worker,
       case when one.state = 1 then (
         select count(*)
         from (select from (
                 select job.kind from asyncjobs.job
                 where job.state = 1 and (job.limit_key is null or job.admitted = job.seq) and job.queue = one.queue and (job.priority, job.seq) < (one.priority, one.seq)
                 order by job.priority, job.seq limit $3::integer
               ) as before
               where before.kind = any($2::text[]) limit $4::integer) as counted
       ) else 0 end as ahead, step.name as step, step.event, step.key, one.counts, one.apart, one.together,
       nearest.after, linked.anyhow, before_kind, before_state, nearest.links,
       (select json_build_object('scope', pause.scope, 'until', pause.until, 'reason', pause.reason, 'by', pause.paused_by,
                                 'left', case when pause.until < 'infinity'
                                              then extract(epoch from pause.until - clock_timestamp())::float8 end)::text
        from asyncjobs.pause
        where one.state < 4 and (pause.until is null or pause.until > clock_timestamp())
          and ((pause.scope = 'queue' and pause.name = one.queue) or (pause.scope = 'kind' and pause.name = one.kind))
        order by pause.scope desc limit 1) as pause
from one
left join lateral (
  select link.after, link.anyhow from asyncjobs.link where one.state = 0 and link.job = one.id and not link.begun offset 0
) as linked on true
left join lateral (
  with recursive back(after, links) as (
    select linked.after, 1
    union all
    select link.after, back.links + 1
    from back
    cross join lateral (
      select link.after from asyncjobs.link where link.job = back.after and not link.begun and not link.anyhow offset 0
    ) as link
    where not linked.anyhow and back.links < 10000    -- as many as a chain may have, should rows written by hand go round
  )
  select back.after, back.links from back order by back.links desc limit 1
) as nearest on linked.after is not null
left join lateral (
  select shown.kind as before_kind, shown.state as before_state from asyncjobs.job_status as shown where shown.id = nearest.after
  limit 1
) as before on true
left join lateral (
  select step.name, step.event, step.key from asyncjobs.step
  where one.state in (0, 3) and step.job = one.id and step.state in ('sleeping', 'waiting') offset 0
) as step on true
limit 1
