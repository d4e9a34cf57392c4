-- Remove notes of actions that are older than 90 days.
-- $1 number of rows, at most
-- Rows: one; how many were removed; if that is $1, there may be more.
-- Index: audit_pkey, from its low end. Ids rise with the time, so that only the oldest are read.
with oldest as materialized (
  select id, at from asyncjobs.audit order by id limit $1::integer
), gone as (
  delete from asyncjobs.audit using oldest
  where audit.id = oldest.id and oldest.at < clock_timestamp() - interval '90 days'
  returning audit.id
)
select count(*) from gone
