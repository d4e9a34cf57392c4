-- Add jobs to the batch of a running job, by that job, before whose end the batch is not over.
-- job, fence: of the attempt; given: as asyncjobs.enqueue_given takes it, each with the batch in its order.
-- Returns the result of asyncjobs.enqueue_given; null: another worker has the job by now, or it has ended; 'over': all callbacks of
-- the batch are enqueued, since all of its jobs had succeeded before this one was run once more.
-- Security definer: the connection may be that of an application that enqueues only.
-- Locks: the job's row for key share, for which its end waits: a look at the batch after that sees these jobs, too.
create or replace function asyncjobs.enqueue_within(job uuid, fence bigint, given text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  found_batch uuid;
  found_state smallint;
begin
  select job.batch, job.state into found_batch, found_state
  from asyncjobs.job where job.id = enqueue_within.job and job.fence = enqueue_within.fence for key share;
  if found_state is distinct from 2 then
    return null;
  elsif exists (select from asyncjobs.batch where batch.id = found_batch and batch.succeeded_at is not null) then
    return 'over';
  end if;
  return asyncjobs.enqueue_given(enqueue_within.given);
end
$$;
