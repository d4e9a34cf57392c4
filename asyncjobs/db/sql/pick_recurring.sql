-- Schedules to be changed. $1 names; null: all, removed ones included  $2 this worker, or null
-- Rows: one each, by name; `is_known`: whether another live worker knows its kind.
-- Locks: the rows, in that order.
select name, asyncjobs.shown(seen_until) as seen_until, enabled, asyncjobs.shown(paused_at) as paused_at,
       asyncjobs.shown(removed_at) as removed_at, schedule, timezone, declared, scope, digest, version, kind,
       declared = 'code' and exists (
         select from asyncjobs.worker
         where worker.dead_at is null and worker.id is distinct from $2::uuid
           and worker.beat_at > clock_timestamp() - least(greatest(worker.lease, '0'), '1 year')
           and strpos(worker.about, to_json(recurring.kind)::text) > 0) as is_known
from asyncjobs.recurring
where $1::text[] is null or name = any($1::text[])
order by name
for no key update
