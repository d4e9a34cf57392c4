-- Enqueue jobs of the batch of a job that runs, by that job: the batch is not over before it is.
-- job, fence: of the attempt; given: as asyncjobs.enqueue_given takes it, each with the batch in its order.
-- Returns what asyncjobs.enqueue_given does; null: another worker has the job by now, or it has ended; 'over': all that was to
-- follow the batch is enqueued, since all of its jobs had succeeded before this one was run once more.
-- Security definer: the connection may be that of an application that enqueues only.
-- Locks: the job's row for key share, which its end waits for: whoever looks at the batch after that sees these jobs, too.
create or replace function asyncjobs.enqueue_within(job uuid, fence bigint, given text) returns text
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  found_batch uuid;
begin
  select job.batch into found_batch
  from asyncjobs.job where job.id = enqueue_within.job and job.fence = enqueue_within.fence and job.state = 2 for key share;
  if not found then
    return null;
  elsif exists (select from asyncjobs.batch where batch.id = found_batch and batch.succeeded_at is not null) then
    return 'over';
  end if;
  return asyncjobs.enqueue_given(enqueue_within.given);
end
$$;
