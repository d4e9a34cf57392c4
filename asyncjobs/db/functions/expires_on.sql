-- The UTC day until which a job that ends now is kept: `days` from today on; more than 31 are rounded up to the end of a month,
-- as the partitions are.
create or replace function asyncjobs.expires_on(days integer) returns date
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select case when days <= 31 then (clock_timestamp() at time zone 'UTC')::date + days
              else (date_trunc('month', clock_timestamp() at time zone 'UTC' + make_interval(days => days))
                    + interval '1 month - 1 day')::date end
$$;
