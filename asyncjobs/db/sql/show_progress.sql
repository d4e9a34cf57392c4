-- Write the progress of running jobs, and notify.
-- $1 ids, ascending  $2 fences  $3 done  $4 totals, or null  $5 notes  $6 seconds since each was shown
-- Rows: none to be read. Jobs whose lease is lost are left out. A stale attempt can overwrite the progress of the next one, which then
-- shows its own: no lock is worth that.
-- `>=` and `<=` for `=`: see finish.sql.
with shown as (
  insert into asyncjobs.live_job as live (job, done, total, note, shown_at)
  select g.id, g.done, g.total, g.note, clock_timestamp() - make_interval(secs => g.age)
  from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::float8[], $5::text[], $6::float8[]) as g(id, fence, done, total, note, age)
  join asyncjobs.job on job.id >= g.id and job.id <= g.id and job.fence = g.fence
  on conflict (job) do update
  set done = excluded.done, total = excluded.total, note = excluded.note, shown_at = excluded.shown_at
  returning job
)
select count(pg_notify('asyncjobs_live', ids))  -- see client/live.py
from (
  select string_agg(left(job::text, 18), ',') as ids
  from (select job, row_number() over () / 200 as part from shown) as parts group by part
) as told
