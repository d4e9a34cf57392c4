-- Pause a queue or a kind: from the commit on no claim takes its jobs. An earlier pause is replaced.
-- scope: queue or kind; names: of it, a kind's under each of its names; until: null: until it is resumed; for_seconds: in place of
-- until, from now on; reason and paused_by are shown.
-- Rows: false if `until` is in the past, and then nothing is changed.
-- Workers are notified, and read the pauses; every claim reads them, too. Jobs that have passed a limit and have not started give
-- their places back by asyncjobs.admit, which looks at every limit for that.
-- Locks: the pauses, in the order of their names.
create or replace function asyncjobs.pause(
  scope text, names text[], until timestamptz, for_seconds double precision, reason text, paused_by text
) returns boolean
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  ends_at timestamptz := coalesce(pause.until, clock_timestamp() + make_interval(secs => pause.for_seconds));
begin
  if pause.scope is null or pause.scope not in ('queue', 'kind') then
    raise exception 'scope must be queue or kind, not %', coalesce(pause.scope, 'null') using errcode = '22023';
  end if;
  if ends_at <= clock_timestamp() then
    return false;
  end if;
  insert into asyncjobs.pause as known (scope, name, until, reason, paused_by)
  select pause.scope, n.name, ends_at, pause.reason, pause.paused_by from unnest(pause.names) as n(name) order by n.name
  on conflict on constraint pause_pkey do update
  set since = excluded.since, until = excluded.until, reason = excluded.reason, paused_by = excluded.paused_by;
  perform asyncjobs.note_all_limits();
  perform pg_notify('asyncjobs_pauses', '');
  return true;
end
$$;
