-- Note the limits of a job that was given back or parked, or has become ready, so that jobs that wait there are looked at.
-- A trigger of asyncjobs.job, for `update of seq`: every statement that makes a job ready, or parks it, takes a new seq, and so notes
-- it, statements by hand included. A trigger on `state` would run at each claim, for 2 us of each job without limits, and one on
-- inserts would take a sixth more; statements that enqueue or claim under a limit note it themselves, and statements that move jobs
-- to the history note each key once for all of them.
create or replace function asyncjobs.note_limits() returns trigger
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  insert into asyncjobs.limit_note (key) select key from unnest(new.limit_keys) as keys(key);
  perform pg_notify('asyncjobs_limits', '');
  return null;
end
$$;

do $$
begin
  if not exists (select from pg_catalog.pg_trigger where tgrelid = 'asyncjobs.job'::regclass and tgname = 'note_limits') then
    create trigger note_limits after update of seq on asyncjobs.job
    for each row when (new.limit_key is not null and new.admitted is distinct from new.seq and new.state <> 2)
    execute function asyncjobs.note_limits();
  end if;
end
$$;
