-- Pause rates: nothing starts under them for a time, as the other side has asked for.
-- $1 keys  $2 seconds of each
-- Rows: without a meaning. Locks: none; it is noted, and counts when the keys are looked at.
with noted as (
  insert into asyncjobs.limit_note (key, not_before)
  select key, clock_timestamp() + make_interval(secs => seconds) from unnest($1::text[], $2::float8[]) as g(key, seconds)
  returning n
)
select count(pg_notify('asyncjobs_limits', '')) as told from (select from noted limit 1) as first
