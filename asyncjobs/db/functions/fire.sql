-- Enqueue the jobs of due ticks of schedules, and note that, in one transaction.
-- given: a JSON array of one object a schedule:
--   {"name": …, "revision": as it was read, "until": its ticks until then are done with, "next_at": the next tick, or null,
--    "ticks": [{"tick": a time, "id": of its job, "run_at": when that is due, null: now}, …]}
-- A schedule that was changed since, or is locked by another worker, is left out. A job that cannot be enqueued is noted with its
-- schedule, tried again seconds later, and holds up no other.
-- Rows: one for each schedule that was fired; how many jobs were enqueued, for how many ticks none was, and what went wrong.
-- Locks: the rows of the schedules, in the order of their names, SKIP LOCKED; then as asyncjobs.enqueue_ordered does.
create or replace function asyncjobs.fire(given json)
returns table (name text, enqueued integer, left_out integer, trouble text)
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  one record;
  what asyncjobs.recurring;
  wanted record;
  made record;
begin
  for one in
    select g.name, g.revision, g.until, g.next_at, g.ticks
    from json_to_recordset(fire.given)
      as g(name text, revision bigint, until timestamptz, next_at timestamptz, ticks json)
    order by g.name
  loop
    select * into what from asyncjobs.recurring
    where recurring.name = one.name and recurring.revision = one.revision and recurring.next_at is not null
    for no key update skip locked;
    continue when not found;
    name := one.name;
    enqueued := 0;
    left_out := 0;
    trouble := null;
    begin
      for wanted in
        select t.tick, t.id, t.run_at from json_to_recordset(one.ticks) as t(tick timestamptz, id uuid, run_at timestamptz)
        order by t.tick
      loop
        continue when exists (select from asyncjobs.recurring_tick as known
                              where known.name = one.name and known.tick = wanted.tick);
        if what.overlap = 'skip' and exists (
             select from asyncjobs.recurring_tick as known
             where known.name = one.name and exists (select from asyncjobs.job where job.id = known.job offset 0))
        then
          left_out := left_out + 1;
          insert into asyncjobs.recurring_tick (name, tick, came_to) values (one.name, wanted.tick, 'skipped');
          continue;
        end if;
        select m.id, m.disposition into made
        from asyncjobs.enqueue_ordered(
          array[wanted.id], array[what.kind], array[what.queue], array[what.priority::integer], array[what.args],
          array[wanted.run_at], array[null::double precision], array[what.expires_in],
          array[(coalesce(what.job_order, '{}')::jsonb || jsonb_build_object('tick', wanted.tick))::text]) as m;
        if made.disposition = 'enqueued' then
          enqueued := enqueued + 1;
          insert into asyncjobs.recurring_tick (name, tick, job, came_to) values (one.name, wanted.tick, made.id, made.disposition);
        else
          -- Another job has the key: that one is not for this time.
          left_out := left_out + 1;
          insert into asyncjobs.recurring_tick (name, tick, came_to) values (one.name, wanted.tick, made.disposition);
        end if;
      end loop;
      update asyncjobs.recurring
      set seen_until = one.until, next_at = one.next_at, revision = recurring.revision + 1, trouble = null
      where recurring.name = one.name;
      -- No time comes twice, for seen_until only grows; these rows are for those who look, and for the one before that runs still.
      delete from asyncjobs.recurring_tick as old
      where old.name = one.name
        and old.tick < (select kept.tick from asyncjobs.recurring_tick as kept where kept.name = one.name
                        order by kept.tick desc offset 200 limit 1)
        and not exists (select from asyncjobs.job where job.id = old.job offset 0);
    exception when others then
      enqueued := 0;
      left_out := 0;
      trouble := left(sqlerrm, 1000);
      update asyncjobs.recurring
      set trouble = left(sqlerrm, 1000), revision = recurring.revision + 1,
          next_at = clock_timestamp() + case when sqlstate = '55P03' then interval '0.3 s' else interval '5 s' end
      where recurring.name = one.name;
    end;
    return next;
  end loop;
end
$$;
