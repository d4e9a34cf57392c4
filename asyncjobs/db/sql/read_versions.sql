-- The versions of the code that have declared what recurs, and those that the other workers which are alive have.
-- $1 this worker, or null
-- Rows: one a version; when it was said, and whether another worker has it: it stands in what a worker tells of itself.
select version, said_at, exists (
         select from asyncjobs.worker
         where worker.dead_at is null and worker.id is distinct from $1::uuid and strpos(worker.about, version) > 0
           and worker.beat_at > clock_timestamp() - least(greatest(worker.lease, '0'), '1 year')) as is_live
from asyncjobs.recurring_version
