-- Delete limit keys without jobs, unique windows that are over, and passes of jobs that are gone.
-- $1 number of each, at most
-- Rows: one; the greatest of the three numbers of deleted rows.
-- Locks: the rows, SKIP LOCKED: a key that is being looked at is locked. A key that is noted meanwhile is made anew.
with idle as materialized (
  select key from asyncjobs.limit_key
  where most is null and look_at is null and coalesce(next_start, '-infinity') < clock_timestamp()
    and not exists (select from asyncjobs.job where job.limit_key = limit_key.key and job.state in (1, 2) offset 0)
    and not exists (select from asyncjobs.limit_note where limit_note.key = limit_key.key offset 0)
    and not exists (select from asyncjobs.limit_pass where limit_pass.key = limit_key.key offset 0)
  limit $1::integer for update skip locked
), forgotten as (
  delete from asyncjobs.limit_key using idle where limit_key.key >= idle.key and limit_key.key <= idle.key returning limit_key.key
), over as materialized (
  select key from asyncjobs.unique_window where until < (select clock_timestamp()) limit $1::integer for update skip locked
), passed as (
  delete from asyncjobs.unique_window using over where unique_window.key >= over.key and unique_window.key <= over.key returning unique_window.key
), stray as materialized (
  select ctid from asyncjobs.limit_pass
  where not exists (select from asyncjobs.job where job.id = limit_pass.job offset 0) limit $1::integer for update skip locked
), gone as (
  delete from asyncjobs.limit_pass using stray where limit_pass.ctid = stray.ctid returning 1
)
select greatest((select count(*) from forgotten), (select count(*) from passed), (select count(*) from gone)) as gone
