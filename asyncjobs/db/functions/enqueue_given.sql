-- Enqueue jobs that are given as one text: on whatever connection, and what a batch or the end of a job keeps to be enqueued then.
-- given: a JSON array of objects with the columns of one row of asyncjobs.enqueue_ordered each; whole: all of them or none, as the
-- jobs of a chain: where another job has the unique key of one, nothing is enqueued.
-- Returns a JSON array of [id, what was done] in the order given, as asyncjobs.enqueue_ordered says it; with `whole`, one that
-- is neither `enqueued` nor `there` says that nothing was done.
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
