-- Schedules, with their last jobs. $1 names; null: all
-- Rows: one each, by name; the time of the database in each.
select r.name, r.kind, r.schedule, r.timezone, r.queue, r.priority, r.catch_up, r.overlap, r.jitter, r.enabled, r.declared,
       asyncjobs.shown(r.paused_at) as paused_at, asyncjobs.shown(r.next_at) as next_at, asyncjobs.shown(ran.tick) as last_at,
       ran.job as last_job, job.state as last_state, asyncjobs.shown(job.finished_at) as last_ended_at,
       (select asyncjobs.shown(tick) from asyncjobs.recurring_tick as none where none.name = r.name and none.job is null
          and none.tick > coalesce(ran.tick, '-infinity') order by none.tick desc limit 1) as skipped_at,
       r.trouble, clock_timestamp() as now
from asyncjobs.recurring as r
left join lateral (
  select tick, job from asyncjobs.recurring_tick as t where t.name = r.name and t.job is not null order by t.tick desc limit 1
) as ran on true
left join lateral (select state, finished_at from asyncjobs.job_status where id = ran.job limit 1) as job on true
where r.removed_at is null and ($1::text[] is null or r.name = any($1::text[]))
order by r.name
