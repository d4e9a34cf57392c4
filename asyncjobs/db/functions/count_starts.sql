-- Take from the buckets of rates the starts since the last look, and what answers of others' have put off; what was noted of
-- limits and rates is used up with that.
-- held: keys whose rows this transaction has locked.
-- Locks: none that `held` does not say.
create or replace function asyncjobs.count_starts(held text[])
returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
begin
  -- next_start is what it would be had each start been counted as it came.
  with noted as (
    delete from asyncjobs.limit_note where key = any(held) returning key, started_at, not_before
  ), started as (
    select key, started_at, row_number() over (partition by key order by started_at desc) as rank
    from noted where isfinite(started_at)
  ), counted as (
    select started.key, count(*) as n, max(started_at + make_interval(secs => rank * limits.spacing)) as last
    from started
    cross join lateral (select limit_key.name from asyncjobs.limit_key where limit_key.key = started.key offset 0) as known
    cross join lateral (select limits.spacing from asyncjobs.limits where limits.name = known.name offset 0) as limits
    where limits.spacing is not null
    group by started.key
  ), told_off as (
    select key, max(not_before) as until from noted where isfinite(not_before) group by key
  )
  update asyncjobs.limit_key
  set look_at = null,
      next_start = greatest(
        known.next_start + make_interval(secs => counted.n * limits.spacing), counted.last,
        told_off.until + make_interval(secs => (limits.burst - 1) * limits.spacing), known.next_start)
  from unnest(held) as h(key)
  cross join lateral (select * from asyncjobs.limit_key as one where one.key = h.key offset 0) as known
  left join lateral (select * from asyncjobs.limits as one where one.name = known.name offset 0) as limits on true
  left join counted on counted.key = h.key
  left join told_off on told_off.key = h.key
  where limit_key.key >= h.key and limit_key.key <= h.key
    and (limit_key.look_at is not null or counted.key is not null or told_off.key is not null);
end
$$;
