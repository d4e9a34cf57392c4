-- Refuse invalid values, for jobs of one kind, queue and priority, and kinds that the login may not enqueue; by name.
-- size: of the largest arguments in bytes; earliest and latest: when they are due.
create or replace function asyncjobs.check_jobs(
  kind text, queue text, priority integer, size integer, earliest timestamptz, latest timestamptz
) returns void
language plpgsql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
begin
  if check_jobs.kind is null or length(check_jobs.kind) not between 1 and 200 then
    raise exception 'kind must have 1 to 200 characters' using errcode = '22023';
  elsif check_jobs.queue is null or check_jobs.queue !~ '^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,63}$' then
    raise exception 'queue must be 1 to 64 letters, digits and _ . : - , not beginning with -' using errcode = '22023';
  elsif check_jobs.priority is null or check_jobs.priority not between -32768 and 32767 then
    raise exception 'priority must be a whole number from -32768 to 32767, not %; smaller runs first',
                    coalesce(check_jobs.priority::text, 'null') using errcode = '22023';
  elsif check_jobs.size is null or check_jobs.size > 1048576 then
    raise exception 'args must have at most 1048576 bytes of JSON, not %: store what is large elsewhere, and give its key',
                    coalesce(check_jobs.size::text, 'null') using errcode = '22023';
  elsif check_jobs.earliest < '1970-01-01 00:00+00' or check_jobs.latest > '9000-01-01 00:00+00' then
    raise exception 'run_at must lie between the years 1970 and 9000' using errcode = '22023';
  elsif exists (select from asyncjobs.allowed_kind where asyncjobs.is_meant(login))
        and not exists (select from asyncjobs.allowed_kind where asyncjobs.is_meant(login) and kind = check_jobs.kind) then
    raise exception 'login % may not enqueue %: the kinds that it may are in asyncjobs.allowed_kind', session_user,
                    check_jobs.kind using errcode = '42501', schema = 'asyncjobs', table = 'allowed_kind';
  end if;
end
$$;
