-- Discard jobs that do not run: those that are ready, scheduled or waiting, and those that have failed:
-- select * from asyncjobs.discard(array['0190…']::uuid[], reason => 'the customer is gone')
-- fences: as in asyncjobs.retry; days: for which a live one is kept.
-- Rows: one for each job that exists, in no order: whether this call has discarded it, and its state.
-- Security definer: no other role may change the history.
-- The jobs that follow in a chain are discarded, too.
-- Locks: the live rows in the order of their ids, then the finished ones, then those that follow. Two steps: see asyncjobs.retry.
create or replace function asyncjobs.discard(
  ids uuid[], fences bigint[] default null, reason text default '', days integer default 7
) returns table (id uuid, done boolean, state smallint)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  live uuid[];
  reasons text[];
begin
  perform asyncjobs.make_room(discard.days);
  perform from asyncjobs.job where job.id = any(discard.ids) and job.state <> 2 order by job.id for update;
  perform from (select distinct g.id from unnest(discard.ids) as g(id) order by g.id) as given
  cross join lateral (select from asyncjobs.finished where finished.id = given.id and finished.state = 5 for update) as held;
  select array_agg(held.id), array_agg(coalesce(discard.reason, '')) into live, reasons
  from (
    select job.id
    from (select g.id, g.fence from unnest(discard.ids, discard.fences) as g(id, fence) order by g.id) as given
    cross join lateral (
      select job.id, job.fence from asyncjobs.job where job.id = given.id and job.state <> 2 for update
    ) as job
    where job.fence = coalesce(given.fence, job.fence)
  ) as held;
  return query
  with given as materialized (
    select g.id, g.fence from unnest(discard.ids, discard.fences) as g(id, fence)
  ), gone as (
    select moved.id from asyncjobs.move(live, reasons, 6, discard.days) as moved(id)
  ), judged as (
    update asyncjobs.finished
    set state = 6, reason = coalesce(discard.reason, '')
    from given
    where finished.id >= given.id and finished.id <= given.id and finished.state + 0 = 5 and finished.fence = coalesce(given.fence, finished.fence)
      and not exists (select from asyncjobs.job where job.id = given.id offset 0)
    returning finished.id
  ), discarded as materialized (select gone.id from gone union all select judged.id from judged)
  select given.id, discarded.id is not null,
         case when discarded.id is not null then 6::smallint else coalesce(job.state, finished.state) end
  from given
  left join discarded on discarded.id = given.id
  left join lateral (select job.id, job.state from asyncjobs.job where job.id = given.id offset 0) as job on true
  left join lateral (
    select finished.id, finished.state from asyncjobs.finished where finished.id = given.id and job.id is null offset 0
  ) as finished on true
  where discarded.id is not null or job.id is not null or finished.id is not null;
  -- Of one that had failed the chain stood; what was live has ended it by itself.
  perform asyncjobs.follow(finished.id, 6, null, coalesce(discard.reason, ''), discard.days)
  from asyncjobs.finished
  where finished.id = any(discard.ids) and finished.state = 6
    and exists (select from asyncjobs.link
                where link.after = finished.id and not link.begun and not link.anyhow
                  and exists (select from asyncjobs.job where job.id = link.job offset 0) offset 0);
end
$$;
