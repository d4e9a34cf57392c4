-- Let jobs pass the limits at which they wait, at keys that were noted and at keys with a due start of a rate.
-- most: number of keys, at most.
-- Rows: one. passed: jobs that were let pass; again: whether there is more to do at once; next_look: seconds until the next start
-- of a rate is due, null: no job waits for one.
-- Keys are served in the order in which they were noted, and a job that has passed takes a new seq: so keys come in turn, however
-- many jobs wait at one of them. Waiting jobs are not looked at unless their key was noted.
-- Holders of places are counted by their rows: running jobs, and jobs that have passed and not started. So no counter can leak.
-- Paused jobs pass nothing; jobs that have passed and are paused before their start give their places back.
-- Locks: the keys, SKIP LOCKED; then, in a statement of its own, the notes at them, and the jobs, SKIP LOCKED. A count in the
-- statement that takes the lock would be older than the lock: 558 overshoots in 8,000 jobs with 8 workers.
create or replace function asyncjobs.admit(most integer default 200)
returns table (passed integer, again boolean, next_look double precision)
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  wanted text[];
  held text[];
  roomy text[];
  paced text[];
  no_queues text[];
  no_kinds text[];
  let_through integer := 0;
begin
  select array_agg(found.key order by found.since) into wanted
  from (
    select oldest.key, min(oldest.since) as since
    from (
      (select noted.key, min(noted.n) as since
       from (select key, n from asyncjobs.limit_note order by n limit admit.most * 5) as noted
       group by noted.key order by min(noted.n) limit admit.most)
      union all
      (select key, 0 from asyncjobs.limit_key where look_at <= (select clock_timestamp()) order by look_at limit admit.most)
    ) as oldest
    group by oldest.key
  ) as found;
  if wanted is not null then
    insert into asyncjobs.limit_key (key, name)
    select key, split_part(key, ' ', 1) from unnest(wanted) as w(key)
    where not exists (select from asyncjobs.limit_key as known where known.key = w.key offset 0) order by key
    on conflict do nothing;
    select array_agg(locked.key order by locked.turn) into held
    from (select w.key, w.turn from unnest(wanted) with ordinality as w(key, turn)
          join asyncjobs.limit_key on limit_key.key >= w.key and limit_key.key <= w.key
          order by w.key for no key update of limit_key skip locked) as locked;
  end if;
  if held is not null then
    perform asyncjobs.count_starts(held);
    select coalesce(array_agg(name) filter (where scope = 'queue'), '{}'), coalesce(array_agg(name) filter (where scope = 'kind'), '{}')
    into no_queues, no_kinds
    from asyncjobs.pause where until is null or until > clock_timestamp();
    perform asyncjobs.give_places_back(held, no_queues, no_kinds);
    with ruled as materialized (
      select h.key, h.turn, coalesce(limit_key.most, limits.most_by_hand, limits.most_by_config, limits.most) as most,
             limits.spacing, limits.burst, limit_key.next_start, clock_timestamp() as now
      from unnest(held) with ordinality as h(key, turn)
      cross join lateral (select * from asyncjobs.limit_key where limit_key.key = h.key offset 0) as limit_key
      cross join lateral (select * from asyncjobs.limits where limits.name = limit_key.name offset 0) as limits
    ), used as materialized (
      -- A claim of this moment is seen by one snapshot as a job that has not started, or as a start that is not counted yet.
      select ruled.*, taken.n + going_on.n as n,
             taken.unstarted + going_on.unstarted
               + (select count(*) from asyncjobs.limit_note where limit_note.key = ruled.key and started_at is not null) as unstarted
      from ruled
      cross join lateral (
        select count(*) as n, count(*) filter (where state = 1) as unstarted
        from asyncjobs.limited where limit_key = ruled.key and place = 0
      ) as taken
      cross join lateral (
        select count(*) as n, count(*) filter (where job.state = 1) as unstarted
        from asyncjobs.limit_pass as pass
        cross join lateral (
          select job.state, job.seq, job.limit_key from asyncjobs.job where job.id = pass.job offset 0
        ) as job
        where pass.key = ruled.key and pass.seq = job.seq and job.state in (1, 2) and job.limit_key <> ruled.key
      ) as going_on
    ), room as materialized (
      select used.*, coalesce(most - n, 1000) as places,
             coalesce(floor(burst - greatest(extract(epoch from next_start - now), 0) / spacing + 1e-6) - unstarted, 1000) as starts
      from used
    ), back as materialized (
      select room.key, room.turn, returned.*
      from room
      cross join lateral (
        select at, id, state, queue, priority, seq, limit_keys
        from asyncjobs.limited
        where limit_key = room.key and place = 1
        order by priority, seq
        limit greatest(room.places, 0) for no key update skip locked
      ) as returned
    ), fresh as materialized (
      select room.key, room.turn, waiting.*
      from room
      cross join lateral (
        select at, id, state, queue, priority, seq, limit_keys
        from asyncjobs.limited
        where limit_key = room.key and place = 2
          and queue <> all(no_queues) and kind <> all(no_kinds)
        order by priority, seq
        limit greatest(least(room.places - (select count(*) from back where back.key = room.key), room.starts), 0)
        for no key update skip locked
      ) as waiting
    ), next as materialized (
      select waiting.*,
             limit_keys[1] <> key and exists (
               select from unnest(limit_keys[1:array_position(limit_keys, key) - 1]) as before(key)
               where not exists (select from asyncjobs.limit_pass as pass
                                 where pass.key = before.key and pass.job = waiting.id and pass.seq = waiting.seq)) as is_lost
      from (select * from back union all select * from fresh) as waiting
    ), numbered as materialized (
      select ordered.*, case when is_last and state = 1 then nextval('asyncjobs.ready_seq') end as new_seq
      from (select next.*, not is_lost and limit_keys[cardinality(limit_keys)] = key as is_last
            from next order by priority, turn, seq) as ordered
    ), let as (
      update asyncjobs.job
      set seq = coalesce(numbered.new_seq, job.seq),
          admitted = case when numbered.is_last then coalesce(numbered.new_seq, job.seq) end,
          limit_key = case when numbered.is_last then job.limit_key when numbered.is_lost then job.limit_keys[1]
                           else job.limit_keys[array_position(job.limit_keys, numbered.key) + 1] end
      from numbered where job.ctid = numbered.at
      returning job.id, job.state, job.queue, job.seq, numbered.key, numbered.is_last, numbered.is_lost, job.limit_key
    ), renumbered as (
      update asyncjobs.limit_pass set seq = let.seq from let where limit_pass.job = let.id and let.is_last
    ), moved as (
      insert into asyncjobs.limit_pass (key, job, seq) select key, id, seq from let where not is_last and not is_lost
      on conflict (key, job) do update set seq = excluded.seq
    ), noted as (
      insert into asyncjobs.limit_note (key) select distinct limit_key from let where not is_last
    ), told as (
      select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from let where is_last and state = 1
      group by queue
      union all
      (select pg_notify('asyncjobs_limits', 'back') from let where is_last and state = 2 limit 1)
    )
    select (select count(*) from let where is_last), (select count(*) from told),
           -- By a union, not a join: hash joins are off where this runs.
           (select array_agg(key)
            from (select key from (select key, least(places, starts) as free, 0 as taken from room
                                   union all select key, 0, 1 from let) as both_sides
                  group by key having sum(free) > sum(taken) or sum(taken) >= 1000) as left_over),
           (select array_agg(room.key) from room where room.starts < room.places)
    into let_through, passed, roomy, paced;
    -- Whoever waits although there is room: its row was locked, or changed while it was looked for, so that its new version is
    -- not seen, or one look may take no more.
    insert into asyncjobs.limit_note (key)
    select r.key from unnest(roomy) as r(key)
    where exists (select from asyncjobs.limited
                  where limit_key = r.key and place between 1 and 2
                    and (state = 2 or (queue <> all(no_queues) and kind <> all(no_kinds))) offset 0)
      and not exists (select from asyncjobs.limit_note where limit_note.key = r.key offset 0);
    -- Whoever waits for a token of a rate is looked at when that is due. Where all are meant for jobs that have passed and not started,
    -- no time brings one, and a look at such a time would be followed by the next at once: whoever starts one of them looks.
    if paced is not null then
      update asyncjobs.limit_key
      set look_at = due.look_at
      from (
        select known.key, known.next_start + make_interval(secs => (1 + next.n - limits.burst) * limits.spacing) as look_at
        from unnest(paced) as p(key)
        cross join lateral (select * from asyncjobs.limit_key where limit_key.key = p.key offset 0) as known
        cross join lateral (select * from asyncjobs.limits where limits.name = known.name offset 0) as limits
        cross join lateral (
          select count(*) as n from asyncjobs.limited where limit_key = p.key and place = 0 and state = 1
        ) as next
        where next.n < limits.burst
          and exists (select from asyncjobs.limited
                      where limit_key = p.key and place = 2
                        and queue <> all(no_queues) and kind <> all(no_kinds) offset 0)
        offset 0
      ) as due
      where limit_key.key >= due.key and limit_key.key <= due.key;
    end if;
  end if;
  return query
  select let_through,
         -- A key that another has locked may have been noted since that one looked there.
         coalesce(cardinality(held), 0) < coalesce(cardinality(wanted), 0)
           or (held is not null and exists (select from asyncjobs.limit_note)),
         (select extract(epoch from min(look_at) - clock_timestamp())::double precision from asyncjobs.limit_key
          where look_at is not null);
end
$$;
