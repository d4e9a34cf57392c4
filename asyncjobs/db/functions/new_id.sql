-- Return a UUIDv7: 48 bits of milliseconds, then random.
create or replace function asyncjobs.new_id() returns uuid
language sql volatile parallel safe
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select (lpad(to_hex(floor(extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
          || '7' || substr(r, 14, 3) || substr(r, 17, 16))::uuid
  from (select replace(gen_random_uuid()::text, '-', '') as r) as random
$$;
