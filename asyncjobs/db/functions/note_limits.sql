-- Note the limits of a job that does not run any more and is not over, or has become ready: what waits there is looked at.
-- A trigger of asyncjobs.job, for `update of seq`: whatever makes a job ready, or parks it, takes a new seq, so that every such
-- statement has it noted, those written by hand too. On `state` it would be asked at each claim, for 2 us a job of those without
-- limits, and on an insert it would take a sixth more; whoever enqueues or claims under a limit notes it himself, and what moves
-- jobs to the history notes each key once for all of them.
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
