-- Remove events that no job has waited for, the oldest first.
-- $1 seconds for which they are kept  $2 number of events, at most
-- Rows: one; how many were removed; if that is $2, there may be more.
-- Index: event_pkey, from its low end. Ids rise with the time, so that only the oldest are read.
with oldest as materialized (
  select id, emitted_at from asyncjobs.event order by id limit $2::integer
), gone as (
  delete from asyncjobs.event using oldest
  where event.id = oldest.id and oldest.emitted_at < clock_timestamp() - make_interval(secs => $1::float8)
  returning event.id
)
select count(*) from gone
