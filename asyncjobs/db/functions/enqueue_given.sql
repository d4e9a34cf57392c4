-- Enqueue jobs that are given as one text: by callers' connections, and for the callbacks of batches and the jobs after a success.
-- given: a JSON array of objects, each with the columns of one row of asyncjobs.enqueue_ordered; whole: all or none, as for the
-- jobs of a chain: if another job has the unique key of one, nothing is enqueued.
-- Returns a JSON array of [id, what was done] in the given order, as asyncjobs.enqueue_ordered has them; with `whole`, any other than
-- `enqueued` and `there` means that nothing was done.
-- Security definer: an enqueuer has no right on the tables.
-- Locks: as asyncjobs.enqueue_ordered.
create or replace function asyncjobs.enqueue_given(given text, whole boolean default false) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  made text;
begin
  if not enqueue_given.whole then
    return asyncjobs.enqueue_rows_given(enqueue_given.given);
  end if;
  begin
    made := asyncjobs.enqueue_rows_given(enqueue_given.given);
    if exists (select from json_array_elements(made::json) as one where one->>1 not in ('enqueued', 'there')) then
      raise exception 'another job has the unique key of one' using errcode = 'AJ001';
    end if;
  exception when sqlstate 'AJ001' then
    null;                                   -- all of it is taken back
  end;
  return made;
end
$$;
