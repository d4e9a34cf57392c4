-- Remove events that nobody has waited for, oldest first.
-- $1 seconds that they are kept  $2 at most so many
-- Rows: one; how many went: as many as $2, and there may be more.
-- Index: event_pkey, from its low end. Ids rise with the time, so that the oldest are there, and no more than these are looked at.
with oldest as materialized (
  select id, emitted_at from asyncjobs.event order by id limit $2::integer
), gone as (
  delete from asyncjobs.event using oldest
  where event.id = oldest.id and oldest.emitted_at < clock_timestamp() - make_interval(secs => $1::float8)
  returning event.id
)
select count(*) from gone
