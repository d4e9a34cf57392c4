-- Have jobs give their places back that have passed and not started yet, when they are paused, and when a more urgent job waits
-- for one of these: they may wait for a slot for long, and would have that one wait for as long. One a key and call.
-- held: keys whose rows this transaction has locked. no_queues, no_kinds: what is paused.
-- Locks: the jobs, SKIP LOCKED.
create or replace function asyncjobs.give_places_back(held text[], no_queues text[], no_kinds text[])
returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
begin
  with paused as materialized (
    select id from asyncjobs.limited
    where limit_key = any(held) and place = 0 and state = 1 and (queue = any(no_queues) or kind = any(no_kinds))
    union
    select job.id from asyncjobs.limit_pass as pass
    cross join lateral (
      select job.id, job.seq, job.state, job.queue, job.kind from asyncjobs.job where job.id = pass.job offset 0
    ) as job
    where pass.key = any(held) and pass.seq = job.seq and job.state = 1
      and (job.queue = any(no_queues) or job.kind = any(no_kinds))
  ), outranked as materialized (
    select least_urgent.id, h.key
    from unnest(held) as h(key)
    cross join lateral (
      select id, priority from asyncjobs.limited where limit_key = h.key and place = 0 and state = 1
      order by priority desc, seq desc limit 1
    ) as least_urgent
    where exists (
      select from asyncjobs.limited
      where limit_key = h.key and place = 2 and priority < least_urgent.priority
        and queue <> all(no_queues) and kind <> all(no_kinds)
    )
  ), locked as materialized (
    select job.id from asyncjobs.job
    where job.id = any(array(select id from paused union select id from outranked)) and job.state = 1
    order by job.id for no key update skip locked
  ), given_back as (
    update asyncjobs.job set admitted = null, limit_key = limit_keys[1]
    where job.id = any(array(select id from locked))
    returning job.id, job.limit_keys
  ), forgotten as (
    delete from asyncjobs.limit_pass where job = any(array(select id from given_back))
  )
  insert into asyncjobs.limit_note (key)
  select distinct k.key from given_back cross join lateral unnest(given_back.limit_keys) as k(key) where k.key <> all(held)
  union
  select outranked.key from outranked where outranked.id in (select id from given_back);
end
$$;
