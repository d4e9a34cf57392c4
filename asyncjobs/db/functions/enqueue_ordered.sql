-- Enqueue jobs with unique keys, limits, a batch or a place in a chain.
-- ids: new, or sent before; run_ats: when each is due, null: in `delays` seconds, null: now; expires_ins: seconds after it is due
-- within which it must start, null: no limit; orders: a JSON object each, all of whose parts may be missing:
--   {"unique": {"key": …, "until": 0 until it is final, 1 it starts, 2 it is parked, "conflict": "skip" | "replace" | "raise",
--               "window": seconds},
--    "limits": [{"key": …, "name": …, "most": …, "spacing": seconds, "burst": …}, …],     in the order in which they are passed
--    "labels": ["t:import", …], "searchable": ["user_id=42", …], "batch": id, "tick": time, "after": {"job": id, "anyhow": false, "previous": string in its arguments}}
-- Rows: one for each job given, with its number from 1: the id of the stored job, and what was done: enqueued; there (by an earlier
-- call with this id); duplicate, taken (a conflict that is to be raised) and replaced: another job has the key.
-- Nothing is raised for a conflict: the caller's transaction goes on.
-- Under READ COMMITTED; above it, what others have committed since the transaction began ends in a serialization failure.
-- Security definer: an enqueuer has no right on the tables.
-- Locks: the new rows, in the order of their keys, and those that they replace; waits for another transaction that is inserting
-- the same key or id.
create or replace function asyncjobs.enqueue_ordered(
  ids uuid[], kinds text[], queues text[], priorities integer[], args text[], run_ats timestamptz[], delays double precision[],
  expires_ins double precision[], orders text[]
) returns table (n integer, id uuid, disposition text)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  given record;
  made_seq bigint;
  other record;
  known uuid;
  later boolean;
  due_soon boolean := false;
  limited_by text[] := '{}';
  before uuid[] := '{}';
begin
  perform asyncjobs.check_jobs(g.kind, g.queue, g.priority, max(octet_length(g.args)), min(g.run_at), max(g.run_at))
  from unnest(enqueue_ordered.kinds, enqueue_ordered.queues, enqueue_ordered.priorities, enqueue_ordered.args,
              enqueue_ordered.run_ats) as g(kind, queue, priority, args, run_at)
  group by g.kind, g.queue, g.priority;

  -- What a limit allows is the workers' to say; until the first of them has, it is what whoever enqueues under it says.
  for given in
    select distinct on (l.name) l.name, l.most, l.spacing, l.burst
    from unnest(enqueue_ordered.orders) as g(o)
    cross join lateral json_to_recordset(g.o::json->'limits') as l(name text, most integer, spacing double precision, burst integer)
    where not exists (select from asyncjobs.limits where limits.name = l.name)
    order by l.name
  loop
    perform asyncjobs.check_limit(given.name, given.most, given.spacing, given.burst);
    insert into asyncjobs.limits (name, most, spacing, burst) values (given.name, given.most, given.spacing, given.burst)
    on conflict do nothing;
  end loop;

  for given in
    select g.n, g.id, g.kind, g.queue, g.priority, g.args,
           coalesce(g.run_at, now.now + make_interval(secs => coalesce(g.delay, 0))) as due, now.now, g.delay, g.run_at, g.expires_in,
           o.unique->>'key' as unique_key, (o.unique->>'until')::smallint as unique_until,
           coalesce(o.unique->>'conflict', 'skip') as conflict, (o.unique->>'window')::double precision as unique_for,
           o.batch, o.tick, o.labels, o.searchable, (o.after->>'job')::uuid as after, coalesce((o.after->>'anyhow')::boolean, false) as anyhow,
           o.after->>'previous' as previous,
           (select array_agg(l.one->>'key' order by l.place)
            from json_array_elements(o.limits) with ordinality as l(one, place)) as limit_keys,
           (select bit_or((l.one->>'most' is not null)::integer + 2 * (l.one->>'spacing' is not null)::integer)
          from json_array_elements(o.limits) as l(one))::smallint as limit_kind
    from (select clock_timestamp() as now) as now,
         unnest(enqueue_ordered.ids, enqueue_ordered.kinds, enqueue_ordered.queues, enqueue_ordered.priorities,
                enqueue_ordered.args, enqueue_ordered.run_ats, enqueue_ordered.delays, enqueue_ordered.expires_ins,
                enqueue_ordered.orders)
           with ordinality as g(id, kind, queue, priority, args, run_at, delay, expires_in, given_order, n)
    cross join lateral json_to_record(g.given_order::json)
      as o("unique" json, limits json, batch uuid, tick timestamptz, after json, labels text[], searchable text[])
    order by o.unique->>'key' nulls first, g.n
  loop
    n := given.n;
    id := given.id;
    disposition := null;
    if given.unique_key is not null and (length(given.unique_key) not between 1 and 256) then
      raise exception 'unique_key must have 1 to 256 characters, not %', length(given.unique_key) using errcode = '22023';
    end if;
    if given.limit_keys is not null
       and (cardinality(given.limit_keys) > 50
            or exists (select from unnest(given.limit_keys) as k(key) where key is null or length(key) not between 1 and 256)) then
      raise exception 'a job has at most 50 limits, each with a key of 1 to 256 characters' using errcode = '22023';
    end if;
    -- What would be found wrong when the job before ends, whose end could not be stored.
    if given.after is not null
       and not (coalesce(given.delay, 0) between -1e9 and 1e9 and coalesce(given.expires_in, 0) between -1e9 and 1e9
                and coalesce(length(given.previous), 40) between 40 and 100) then
      raise exception 'after another job, delays and expires_ins must be within 1e9 seconds, and `previous` have 40 to 100 characters'
        using errcode = '22023';
    end if;
    if given.labels is not null or given.searchable is not null then
      perform asyncjobs.check_labels(given.labels, given.searchable);
    end if;
    while disposition is null loop
      if given.unique_for is not null then
        -- The row is locked from here to the commit: whoever enqueues under this key meanwhile waits.
        insert into asyncjobs.unique_window (key, job, until)
        values (given.unique_key, given.id, given.now + make_interval(secs => given.unique_for))
        on conflict do nothing;
        if not found then
          -- Each in a statement of its own: one that has waited for the row sees it, but not the job that was stored with it.
          select kept.job into known from asyncjobs.unique_window as kept where kept.key = given.unique_key for update;
          continue when not found;          -- it was deleted meanwhile
          update asyncjobs.unique_window as kept set job = given.id, until = given.now + make_interval(secs => given.unique_for)
          where kept.key = given.unique_key
            and (kept.until <= given.now or kept.job = given.id
                 or not exists (select from asyncjobs.job where job.id = kept.job offset 0)
                    and not exists (select from asyncjobs.finished where finished.id = kept.job offset 0));
          if found then
            null;
          elsif given.conflict <> 'replace'
             or not exists (select from asyncjobs.job where job.id = known and job.unique_until >= 0) then
            id := known;
            disposition := case given.conflict when 'raise' then 'taken' else 'duplicate' end;
            exit;
          end if;
        end if;
      end if;
      later := given.after is not null or given.due > given.now;
      insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at, unique_key, unique_until, batch, tick,
                                 limit_key, limit_keys, limit_kind, labels, searchable)
      values (given.id, given.kind, given.queue, given.priority, case when given.after is null then given.due else 'infinity' end,
              case when later then 0 else 1 end, given.args,
              case when given.after is null then given.due + make_interval(secs => given.expires_in) end,
              given.unique_key, case when given.unique_key is not null then coalesce(given.unique_until, 0::smallint) end,
              given.batch, given.tick, given.limit_keys[1], given.limit_keys, given.limit_kind, given.labels, given.searchable)
      on conflict do nothing
      returning job.seq into made_seq;
      if made_seq is not null then
        delete from asyncjobs.job
        where job.id = given.id and exists (select from asyncjobs.finished where finished.id = given.id);
        disposition := case when found then 'there' else 'enqueued' end;
        exit;
      end if;
      if exists (select from asyncjobs.job where job.id = given.id) then
        disposition := 'there';
        exit;
      end if;
      select job.id, job.limit_keys,
             -- One that has recorded steps is in its middle, and one of a chain has the result of another to work with.
             job.state in (0, 1) and job.progress is null
               and not exists (select from asyncjobs.link where link.job = job.id and not link.begun and not link.anyhow offset 0)
               as has_not_begun
      into other
      from asyncjobs.job where job.unique_key = given.unique_key and job.unique_until >= 0
      for no key update;
      if not found then
        continue;                           -- it has ended meanwhile
      elsif given.conflict = 'replace' and given.after is null and other.has_not_begun then
        -- Attempts that have failed were those of the work that is replaced.
        update asyncjobs.job
        set args = given.args, attempt = 0, counts = null, errors = null, started_at = null, queue = given.queue, priority = given.priority,
            expires_at = case when job.run_at < 'infinity' then given.due + make_interval(secs => given.expires_in) end,
            run_at = case when job.run_at = 'infinity' then job.run_at else given.due end,
            state = case when job.run_at = 'infinity' or given.due > given.now then 0 else 1 end,
            seq = case when job.run_at < 'infinity' and given.due <= given.now and job.state = 0
                       then nextval('asyncjobs.ready_seq') else job.seq end,
            limit_key = given.limit_keys[1], limit_keys = given.limit_keys, limit_kind = given.limit_kind, admitted = null,
            labels = given.labels, searchable = given.searchable
        where job.id = other.id
        returning job.seq into made_seq;
        delete from asyncjobs.limit_pass where job = other.id;
        limited_by := limited_by || other.limit_keys;  -- of places that it has held
        update asyncjobs.link set delay = given.delay, run_at = given.run_at, expires_in = given.expires_in where link.job = other.id;
        id := other.id;
        disposition := 'replaced';
      elsif given.conflict = 'replace' and given.after is null then
        -- It runs, or waits in its middle: this one has the key from now on, and begins when that one has ended.
        update asyncjobs.job set unique_until = -1 - job.unique_until where job.id = other.id;
        update asyncjobs.unique_window set job = given.id where key = given.unique_key and given.unique_for is not null;
        given.after := other.id;
        given.anyhow := true;
      else
        id := other.id;
        disposition := case given.conflict when 'raise' then 'taken' else 'duplicate' end;
      end if;
    end loop;
    if disposition = 'enqueued' and given.after is not null then
      insert into asyncjobs.link (job, after, anyhow, delay, run_at, expires_in, previous)
      values (given.id, given.after, given.anyhow, given.delay, given.run_at, given.expires_in, given.previous)
      on conflict (job) do nothing;
      before := before || given.after;
    elsif disposition in ('enqueued', 'replaced') and later then
      due_soon := due_soon or given.due < clock_timestamp() + interval '2 seconds';
    elsif disposition in ('enqueued', 'replaced') and given.limit_keys is not null then
      limited_by := limited_by || given.limit_keys[1];
    elsif disposition in ('enqueued', 'replaced') then
      -- Rounded down: the jobs of a transaction mostly have the same payload, and are told of once.
      perform pg_notify('asyncjobs_ready', made_seq / 1024 * 1024 || ' ' || left(given.queue, 64));
    end if;
    return next;
  end loop;
  update asyncjobs.job set followed = true where job.id = any(before) and not job.followed;
  if due_soon then
    perform pg_notify('asyncjobs_due', '');
  end if;
  if limited_by <> '{}' then
    insert into asyncjobs.limit_note (key) select distinct key from unnest(limited_by) as keys(key);
    perform pg_notify('asyncjobs_limits', '');
  end if;
end
$$;

-- The same for one, whose id is new or was sent before. Returns its id and what was done, with a space between.
create or replace function asyncjobs.enqueue_ordered(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision, given_order text
) returns text
language sql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select made.id || ' ' || made.disposition
  from asyncjobs.enqueue_ordered(
    array[enqueue_ordered.id], array[enqueue_ordered.kind], array[enqueue_ordered.queue], array[enqueue_ordered.priority],
    array[enqueue_ordered.args], array[enqueue_ordered.run_at], array[enqueue_ordered.delay], array[enqueue_ordered.expires_in],
    array[enqueue_ordered.given_order]) as made
$$;
