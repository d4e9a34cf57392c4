-- Note a version of the code that declares schedules. $1 version  $2 whether it counts as the newest from now on
-- Rows: none. Of more than a thousand the oldest are deleted.
-- Locks: the row.
with said as (
  insert into asyncjobs.recurring_version as known (version) values ($1::text)
  on conflict (version) do update set said_at = excluded.said_at where $2::boolean
)
delete from asyncjobs.recurring_version
where said_at < (select said_at from asyncjobs.recurring_version order by said_at desc offset 1000 limit 1)
