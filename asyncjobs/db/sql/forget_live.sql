-- Delete items of streams, and progress, of jobs that were dropped from the history.
-- $1 number of items, at most
-- Rows: one; how many rows were deleted; 0: nothing is left.
with old as materialized (
  select job from asyncjobs.live_job where gone order by job limit 100
), doomed as materialized (
  select item.at
  from old cross join lateral (
    select stream_item.ctid as at from asyncjobs.stream_item where stream_item.job = old.job limit $1::integer
  ) as item
  limit $1::integer
), items as (
  delete from asyncjobs.stream_item as item using doomed where item.ctid = doomed.at returning item.n
), rows as (
  delete from asyncjobs.live_job as live using old
  where live.job >= old.job and live.job <= old.job and (select count(*) from doomed) < $1::integer
  returning live.job
)
select (select count(*) from items) + (select count(*) from rows)
