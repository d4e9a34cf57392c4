-- Resume a queue or a kind, and delete all pauses that are over.
-- scope: queue or kind; null: only delete; names: of it.
-- Rows: how many pauses in force were ended before their time.
-- Workers are notified, and look at queues from their start. Jobs that wait at limits are looked at.
-- Locks: the pauses.
create or replace function asyncjobs.resume(scope text default null, names text[] default null) returns integer
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  resumed integer;
  ended integer;
begin
  with gone as (
    delete from asyncjobs.pause as known
    where (known.scope = resume.scope and known.name = any(resume.names)) or known.until <= clock_timestamp()
    returning known.until
  )
  select count(*) filter (where gone.until is null or gone.until > clock_timestamp()), count(*) into resumed, ended from gone;
  if ended > 0 then
    perform asyncjobs.note_all_limits();
    perform pg_notify('asyncjobs_pauses', '');
  end if;
  return resumed;
end
$$;
