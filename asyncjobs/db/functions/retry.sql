-- Make jobs ready again that have failed, were discarded or cancelled, and those that wait for their retry:
-- select * from asyncjobs.retry(array['0190…']::uuid[])
-- The row is moved back and keeps its id, its attempt and its errors; the counters of its declarations, its crashes and its expiry
-- are reset. Its steps are kept, unless it succeeded.
-- fences: one an id: only jobs that have not been claimed since they were read with these; null: any. forced: also jobs that
-- succeeded, and jobs scheduled for their first run. from_step: that step and those after it run again.
-- Rows: one for each job that exists, in no order: whether this call has made it ready, its state, and the other job that has its
-- unique key, if there is one: then it stays as it is.
-- Security definer: no other role may remove rows of the history.
-- A job that was discarded or cancelled while it waited for another of its chain waits again, unless that has succeeded by now.
-- Their batches, and the batches of which these are parts, are looked at again when they end.
-- Locks: the live rows in the order of their ids, then the finished ones, then the batches. Two steps: a statement that has waited
-- for a lock may still see the row as it was before; the next sees it as it is.
create or replace function asyncjobs.retry(
  ids uuid[], fences bigint[] default null, forced boolean default false, from_step text default null
) returns table (id uuid, done boolean, state smallint, taken_by uuid)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  batches uuid[];
  ended uuid[];
begin
  perform from asyncjobs.job where job.id = any(retry.ids) and job.state + 0 = 0 order by job.id for no key update;
  -- Only these are taken from the history: what ends from here on is not locked, and its batches would stay settled.
  select array_agg(held.id) into ended
  from (select distinct g.id from unnest(retry.ids) as g(id) order by g.id) as given
  cross join lateral (select finished.id from asyncjobs.finished where finished.id = given.id for update) as held;
  -- The end of the job before one waits for this, or is seen.
  perform from asyncjobs.link where link.job = any(ended) and not link.begun order by link.job for update;
  with recursive above as (
    select ended_job.batch as id
    from (select finished.batch from asyncjobs.finished where finished.id = any(ended) offset 0) as ended_job
    where ended_job.batch is not null
    union
    select whole.parent
    from above cross join lateral (select batch.parent from asyncjobs.batch where batch.id = above.id offset 0) as whole
    where whole.parent is not null
  )
  select array_agg(above.id) into batches from above;
  if batches is not null then
    perform from asyncjobs.batch where batch.id = any(batches) order by batch.id for no key update;
    update asyncjobs.batch set settled = false where batch.id = any(batches) and batch.settled;
  end if;
  loop
    begin
      return query
      with given as materialized (
        select g.id, g.fence from unnest(retry.ids, retry.fences) as g(id, fence)
      ), sooner as (
        update asyncjobs.job
        set state = 1, seq = nextval('asyncjobs.ready_seq'), run_at = clock_timestamp()
        from given
        where job.id >= given.id and job.id <= given.id and job.state + 0 = 0 and (job.attempt > 0 or retry.forced)
          and not exists (select from asyncjobs.link where link.job = given.id and not link.begun offset 0)
          and job.fence = coalesce(given.fence, job.fence)
        returning job.id, job.queue, job.seq
      ), undone as (
        delete from asyncjobs.step using sooner
        where step.job >= sooner.id and step.job <= sooner.id
          and step.n >= (select target.n from asyncjobs.step as target
                         where target.job = sooner.id and target.name = retry.from_step)
      ), gone as (
        delete from asyncjobs.finished using given
        where finished.id >= given.id and finished.id <= given.id and finished.id = any(ended)
          and (finished.state + 0 > 4 or retry.forced)
          and finished.fence = coalesce(given.fence, finished.fence)
          and not exists (select from asyncjobs.job where job.id = given.id offset 0)
          and not exists (select from asyncjobs.job
                          where job.unique_key = finished.unique_key and job.unique_until >= 0 and finished.unique_until is not null
                          offset 0)
          and not exists (select from given as earlier
                          cross join lateral (
                            select same.unique_key from asyncjobs.finished as same where same.id = earlier.id offset 0
                          ) as same
                          where earlier.id < given.id and same.unique_key = finished.unique_key and finished.unique_until is not null
                          offset 0)
        returning finished.*
      ), again as (
        insert into asyncjobs.job (state, run_at, id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors, progress, batch,
                                   tick, unique_key, unique_until, limit_key, limit_keys, limit_kind, labels, searchable,
                                   followed)
        select case when waits.job is null then 1 else 0 end, case when waits.job is null then clock_timestamp() else 'infinity' end,
               gone.id, enqueued_at, started_at, attempt, priority, kind, queue, args, errors,
               case when gone.state > 4 or retry.from_step is not null then progress end, batch, tick,
               unique_key, case when unique_until < 0 then -1 - unique_until else unique_until end, limit_keys[1], limit_keys, limit_kind,
               labels, searchable, exists (select from asyncjobs.link where link.after = gone.id and not link.begun offset 0)
        from gone
        -- What was discarded while it waited for another, which has not succeeded, waits again.
        left join lateral (
          select link.job from asyncjobs.link
          where link.job = gone.id and not link.begun
            and (not link.anyhow or exists (select from asyncjobs.job as before where before.id = link.after offset 0))
          offset 0
        ) as waits on true
        order by gone.id
        returning job.id, job.queue, job.seq, job.state, job.limit_key
      ), begun as (
        update asyncjobs.link set begun = true from again
        where link.job >= again.id and link.job <= again.id and not link.begun and again.state = 1
      ), limited as (
        insert into asyncjobs.limit_note (key) select limit_key from again where limit_key is not null and state = 1 returning n
      ), unfolded as (
        select asyncjobs.unfold_steps(gone.id, gone.steps, retry.from_step) from gone
        where gone.steps is not null and (gone.state > 4 or retry.from_step is not null)
      ), ready as (
        select sooner.id, queue, seq, 1::smallint as state from sooner union all select again.id, queue, seq, state from again
      ), told as (
        select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from ready where state = 1 group by queue
      ), counted as materialized (
        select count(*) + (select count(*) from unfolded)
                 + (select count(pg_notify('asyncjobs_limits', '')) from (select from limited limit 1) as first)
        from told
      )
      select given.id, ready.id is not null,
             case when ready.id is not null then ready.state else coalesce(job.state, finished.state) end,
             case when ready.id is null then holder.id end
      from counted, given
      left join ready on ready.id = given.id
      left join lateral (select job.id, job.state from asyncjobs.job where job.id = given.id offset 0) as job on true
      left join lateral (
        select finished.id, finished.state, finished.unique_key, finished.unique_until
        from asyncjobs.finished where finished.id = given.id and job.id is null offset 0
      ) as finished on true
      left join lateral (
        select job.id from asyncjobs.job
        where finished.unique_until is not null and job.unique_key = finished.unique_key and job.unique_until >= 0 offset 0
      ) as holder on true
      where ready.id is not null or job.id is not null or finished.id is not null;
      exit;
    exception when unique_violation then
      null;                                 -- of a job that was not committed yet: now it is seen
    end;
  end loop;
  perform asyncjobs.follow(finished.id, 4, finished.result, null, 7)
  from asyncjobs.link
  cross join lateral (
    select finished.id, finished.result from asyncjobs.finished where finished.id = link.after and finished.state = 4 offset 0
  ) as finished
  where link.job = any(retry.ids) and not link.begun and not link.anyhow;
end
$$;
