-- Whether jobs are left that no ordinary claim finds: suspects that are ready, those that wait at a limit, and running jobs whose
-- worker is dead or seems to be.
-- $1 queues  $2 kinds that this worker knows
-- Rows: one; `left_over`.
-- A worker seems dead if it is silent for a sixth of its lease, or if its session is gone: bury.sql may have to wait.
-- Index: job_for_suspects; job_for_limits; job_for_rescue, a loose scan over the workers that hold jobs.
with recursive holder as (
  (select worker from asyncjobs.job where state = 2 order by worker limit 1)
  union all
  select (select job.worker from asyncjobs.job where job.state = 2 and job.worker > holder.worker
          order by job.worker limit 1)
  from holder where holder.worker is not null
)
select exists (
         select from asyncjobs.job
         where state = 1 and crashes > 1 and (limit_key is null or admitted = seq) and queue = any($1::text[]) and kind = any($2::text[])
       ) or exists (
         select from asyncjobs.limited where place = 2 and queue = any($1::text[]) and kind = any($2::text[])
       ) or exists (
         select from holder left join asyncjobs.worker as w on w.id = holder.worker
         where holder.worker is not null
           and (w.id is null or w.dead_at is not null or w.beat_at < clock_timestamp() - w.lease / 6
                or (w.backend_pid <> 0
                    and not exists (select from pg_stat_get_activity(w.backend_pid) as s
                                    where s.backend_start is null or w.backend_start is null
                                       or s.backend_start = w.backend_start)))
       ) as left_over
