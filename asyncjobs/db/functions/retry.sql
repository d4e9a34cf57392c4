-- Make jobs ready again that have failed, were discarded or cancelled, and those that wait for their retry:
-- select * from asyncjobs.retry(array['0190…']::uuid[])
-- The row is moved back and keeps its id, its attempt and its errors; the counts of its declarations, its crashes and its expiry
-- are forgotten. Its steps are kept, unless it succeeded.
-- fences: one an id: only jobs that have not been claimed since they were read with these; null: whichever. forced: those that
-- succeeded too, and those scheduled for their first run. from_step: that one and those after it run again.
-- Rows: one for each id that is there, in no order: whether it is ready by this call, and its state by now.
-- Security definer: nobody else may remove what is in the history.
-- Locks: the live rows in the order of their ids, then the finished ones. Two steps: what a statement has waited for another to
-- release, it may still see as it was before, and the next sees as it is.
create or replace function asyncjobs.retry(
  ids uuid[], fences bigint[] default null, forced boolean default false, from_step text default null
) returns table (id uuid, done boolean, state smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
  perform from asyncjobs.job where job.id = any(retry.ids) and job.state = 0 order by job.id for no key update;
  perform from asyncjobs.finished where finished.id = any(retry.ids) order by finished.id for update;
  return query
  with given as materialized (
    select g.id, g.fence from unnest(retry.ids, retry.fences) as g(id, fence)
  ), sooner as (
    update asyncjobs.job
    set state = 1, seq = nextval('asyncjobs.ready_seq'), run_at = clock_timestamp()
    from given
    where job.id = given.id and job.state = 0 and (job.attempt > 0 or retry.forced)
      and job.fence = coalesce(given.fence, job.fence)
    returning job.id, job.queue, job.seq
  ), undone as (
    delete from asyncjobs.step using sooner
    where step.job = sooner.id
      and step.n >= (select target.n from asyncjobs.step as target
                     where target.job = sooner.id and target.name = retry.from_step)
  ), gone as (
    delete from asyncjobs.finished using given
    where finished.id = given.id and (finished.state > 4 or retry.forced)
      and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id)
    returning finished.*
  ), again as (
    insert into asyncjobs.job (id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors, progress)
    select gone.id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors,
           case when gone.state > 4 or retry.from_step is not null then progress end
    from gone order by gone.id
    returning job.id, job.queue, job.seq
  ), unfolded as (
    select asyncjobs.unfold_steps(gone.id, gone.steps, retry.from_step) from gone
    where gone.steps is not null and (gone.state > 4 or retry.from_step is not null)
  ), ready as (
    select sooner.id, queue, seq from sooner union all select again.id, queue, seq from again
  ), told as (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from ready group by queue
  ), counted as materialized (select count(*) + (select count(*) from unfolded) from told)
  select given.id, ready.id is not null,
         case when ready.id is not null then 1::smallint else coalesce(job.state, finished.state) end
  from counted, given
  left join ready on ready.id = given.id
  left join asyncjobs.job on job.id = given.id
  left join asyncjobs.finished on finished.id = given.id and job.id is null
  where ready.id is not null or job.id is not null or finished.id is not null;
end
$$;
