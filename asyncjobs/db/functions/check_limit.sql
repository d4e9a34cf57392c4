-- Refuse numbers of a limit or a rate with which the next look at all limits would fail, and names that no index takes; by name.
-- name: of the limit; most: running at once; spacing: seconds between two starts; burst: starts that may follow each other.
-- A bucket is full after ten years at most, so that no time is computed that PostgreSQL does not have.
create or replace function asyncjobs.check_limit(
  name text, most integer, spacing double precision, burst integer
) returns void
language plpgsql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if check_limit.name is null or length(check_limit.name) not between 1 and 256 then
    raise exception 'a limit''s name must have 1 to 256 characters' using errcode = '22023';
  elsif check_limit.most not between 0 and 1000000 then
    raise exception 'a limit must be a whole number from 0 to 1000000, not %', check_limit.most using errcode = '22023';
  elsif check_limit.spacing is not null
        and not (check_limit.spacing >= 1e-9 and coalesce(check_limit.burst between 1 and 1000000, false)
                 and check_limit.spacing * check_limit.burst <= 4e8) then
    raise exception 'a rate must have a spacing of at least 1e-9 seconds, a burst from 1 to 1000000, and be full after ten years, '
                    'not spacing % and burst %', check_limit.spacing, coalesce(check_limit.burst::text, 'null') using errcode = '22023';
  end if;
end
$$;
