-- Forget the keys of limits under which nothing is left, and those of uniqueness whose window is over.
-- $1 so many of each at most
-- Rows: one; how many are gone.
-- Locks: the rows, SKIP LOCKED: whoever looks at a key has it locked. A key that is noted meanwhile is made anew.
with idle as materialized (
  select key from asyncjobs.limit_key
  where most is null and look_at is null and coalesce(next_start, '-infinity') < clock_timestamp()
    and not exists (select from asyncjobs.job where job.limit_key = limit_key.key and job.state in (1, 2))
    and not exists (select from asyncjobs.limit_note where limit_note.key = limit_key.key)
    and not exists (select from asyncjobs.limit_pass where limit_pass.key = limit_key.key)
  limit $1::integer for update skip locked
), forgotten as (
  delete from asyncjobs.limit_key using idle where limit_key.key = idle.key returning limit_key.key
), over as materialized (
  select key from asyncjobs.unique_window where until < (select clock_timestamp()) limit $1::integer for update skip locked
), passed as (
  delete from asyncjobs.unique_window using over where unique_window.key = over.key returning unique_window.key
), stray as materialized (
  select key, job from asyncjobs.limit_pass
  where not exists (select from asyncjobs.job where job.id = limit_pass.job) limit $1::integer for update skip locked
), gone as (
  delete from asyncjobs.limit_pass using stray where limit_pass.key = stray.key and limit_pass.job = stray.job returning 1
)
select greatest((select count(*) from forgotten), (select count(*) from passed), (select count(*) from gone)) as gone
