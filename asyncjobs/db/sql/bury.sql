-- Declare workers dead whose lease is over.
-- $1 this worker
-- Rows: the ids of the workers declared dead now, and the number of jobs that each has left.
-- The death rule: silent for a sixth of the lease (5 s) and its session gone, or silent for the whole lease (30 s); and
-- only by a worker whose own link has been whole for a fifth of its lease (6 s) and whose session lives: after a restart of
-- the database all workers have been silent, and the link of each is younger than that. Another role sees
-- backend_start as null: null counts as alive. Where one of the two has no session of its own (pid 0, behind a pooler) the
-- whole lease decides.
-- A beat in the future was made before the clock was set back: its worker counts as heard now.
-- Locks: the dead rows; the condition is rechecked under the lock. Index: job_for_rescue.
with heard as (
  update asyncjobs.worker set beat_at = clock_timestamp() where dead_at is null and beat_at > clock_timestamp()
)
update asyncjobs.worker as w
set dead_at = clock_timestamp()
from asyncjobs.worker as me
where w.dead_at is null and w.id <> $1::uuid
  and me.id = $1::uuid and me.dead_at is null
  and me.linked_at < clock_timestamp() - me.lease / 5
  and me.beat_at > clock_timestamp() - me.lease / 5
  and (me.backend_pid = 0
       or exists (select from pg_stat_get_activity(me.backend_pid) as s
                  where s.backend_start is null or me.backend_start is null or s.backend_start = me.backend_start))
  and (w.beat_at < clock_timestamp() - w.lease
       or (w.beat_at < clock_timestamp() - w.lease / 6 and w.backend_pid <> 0 and me.backend_pid <> 0
           and not exists (select from pg_stat_get_activity(w.backend_pid) as s
                           where s.backend_start is null or w.backend_start is null
                              or s.backend_start = w.backend_start)))
returning w.id, (select count(*) from asyncjobs.job where state = 2 and worker = w.id) as jobs
