-- The versions of the code that have declared schedules, and whether other live workers have them.
-- $1 this worker, or null
-- Rows: one a version; when it was declared, and whether another live worker has it, by what that has registered.
select version, said_at, exists (
         select from asyncjobs.worker
         where worker.dead_at is null and worker.id is distinct from $1::uuid and strpos(worker.about, version) > 0
           and worker.beat_at > clock_timestamp() - least(greatest(worker.lease, '0'), '1 year')) as is_live
from asyncjobs.recurring_version
