-- Discard jobs that do not run: those that are ready, scheduled or waiting, and those that have failed:
-- select * from asyncjobs.discard(array['0190…']::uuid[], reason => 'the customer is gone')
-- fences: as in asyncjobs.retry; days: how long a live one is kept.
-- Rows: one for each id that is there, in no order: whether it is discarded by this call, and its state by now.
-- Security definer: the history is nobody's to change.
-- Locks: the live rows in the order of their ids, then the finished ones. Two steps: see asyncjobs.retry.
create or replace function asyncjobs.discard(
  ids uuid[], fences bigint[] default null, reason text default '', days integer default 7
) returns table (id uuid, done boolean, state smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
begin
  if not exists (select from pg_class where oid = to_regclass(
      'asyncjobs.finished_' || to_char(asyncjobs.expires_on(discard.days), 'YYYYMMDD'))) then
    perform asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + discard.days + 1);
  end if;
  perform from asyncjobs.job where job.id = any(discard.ids) and job.state <> 2 order by job.id for update;
  perform from asyncjobs.finished where finished.id = any(discard.ids) and finished.state = 5 order by finished.id for update;
  return query
  with given as materialized (
    select g.id, g.fence from unnest(discard.ids, discard.fences) as g(id, fence)
  ), gone as (
    delete from asyncjobs.job using given
    where job.id = given.id and job.state <> 2 and job.fence = coalesce(given.fence, job.fence)
    returning job.*
  ), moved as (
    insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                    crashes, kind, queue, args, errors, reason, progress, steps)
    select gone.id, fence, asyncjobs.expires_on(discard.days), enqueued_at, started_at, clock_timestamp(), attempt, priority,
           6, crashes, kind, queue, args, errors, coalesce(discard.reason, ''), progress,
           case when progress is not null then asyncjobs.fold_steps(gone.id) end
    from gone
  ), judged as (
    update asyncjobs.finished
    set state = 6, reason = coalesce(discard.reason, '')
    from given
    where finished.id = given.id and finished.state = 5 and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id)
    returning finished.id
  ), told as (
    select pg_notify('asyncjobs_done', string_agg(awaited.id::text, ','))
    from (select gone.id, row_number() over () / 200 as part from gone where awaited) as awaited    -- a notice holds 8,000 bytes
    group by part
  ), counted as materialized (select count(*) from told),
  discarded as (select gone.id from gone union all select judged.id from judged)
  select given.id, discarded.id is not null,
         case when discarded.id is not null then 6::smallint else coalesce(job.state, finished.state) end
  from counted, given
  left join discarded on discarded.id = given.id
  left join asyncjobs.job on job.id = given.id
  left join asyncjobs.finished on finished.id = given.id and job.id is null
  where discarded.id is not null or job.id is not null or finished.id is not null;
end
$$;
