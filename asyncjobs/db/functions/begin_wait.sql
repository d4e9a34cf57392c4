-- Begin the wait of a running job for a time, an event, or whichever comes first; a wait that has begun is left as it is, and
-- ended when its time is over. A wait that has failed, since no event came in time and that ended the attempt, begins anew.
-- An event that was emitted before is taken now, the oldest first.
-- event: null: a sleep; seconds: null: no limit; progress: the job's attributes, null: as they are.
-- Rows: none if the fence is not the job's any more; else one: the record of the wait, and the seconds that are left.
-- Locks: the event, then the job. Two statements under the event's lock: an emit that commits before is seen here, and a later one
-- sees this wait.
-- lock_timeout: short, since the session is that of all jobs' steps, and an open transaction that has emitted the event keeps it
-- locked; then the worker tries again. Unlocked, this takes a millisecond.
create or replace function asyncjobs.begin_wait(
  id uuid, fence bigint, n integer, name text, event text, key text, seconds double precision, progress text
) returns table (state text, result text, remaining double precision)
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5ms'
as $$
#variable_conflict use_column
declare
  until timestamptz := clock_timestamp() + make_interval(secs => begin_wait.seconds);
  held integer;
begin
  if begin_wait.event is not null then
    perform asyncjobs.lock_event(begin_wait.event, begin_wait.key);
  end if;
  update asyncjobs.job set progress = coalesce(begin_wait.progress, job.progress, '{}')
  where job.id = begin_wait.id and job.fence = begin_wait.fence
  returning job.attempt into held;
  if not found then
    return;
  end if;
  delete from asyncjobs.step
  where step.job = begin_wait.id and step.name = begin_wait.name and step.state = 'failed' and step.event is not null;
  if not exists (select from asyncjobs.step where step.job = begin_wait.id and step.name = begin_wait.name) then
    with taken as (
      delete from asyncjobs.event
      where event.id = (select event.id from asyncjobs.event
                        where event.name = begin_wait.event and event.key = begin_wait.key order by event.id limit 1)
      returning event.id, payload
    )
    insert into asyncjobs.step (job, n, name, state, attempt, started_at, finished_at, wakes_at, event, key, result)
    select begin_wait.id, begin_wait.n, begin_wait.name,
           case when begin_wait.event is null then 'sleeping' when taken.id is null then 'waiting' else 'succeeded' end,
           held, clock_timestamp(), case when taken.id is not null then clock_timestamp() end, until, begin_wait.event,
           begin_wait.key, taken.payload
    from (values (1)) as one left join taken on true;
  end if;
  update asyncjobs.step
  set state = case when state = 'sleeping' then 'succeeded' else 'timed_out' end, finished_at = clock_timestamp()
  where step.job = begin_wait.id and step.name = begin_wait.name and state in ('sleeping', 'waiting')
    and wakes_at <= clock_timestamp();
  return query
    select step.state, step.result, extract(epoch from step.wakes_at - clock_timestamp())::double precision
    from asyncjobs.step where step.job = begin_wait.id and step.name = begin_wait.name;
end
$$;
