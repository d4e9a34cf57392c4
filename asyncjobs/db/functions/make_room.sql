-- Make the partition of finished for jobs that end now and are kept for `days`, if it is missing.
-- To be called before a job is locked: it may have to wait for a lock, and others would wait for the job meanwhile.
-- Locks: as asyncjobs.make_partitions.
create or replace function asyncjobs.make_room(days integer) returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  if to_regclass('asyncjobs.finished_' || to_char(asyncjobs.expires_on(make_room.days), 'YYYYMMDD')) is null then
    perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + make_room.days + 1);
  end if;
end
$$;
