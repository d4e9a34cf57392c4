-- Give places that have just become free to the jobs that have waited longest, and note keys with places left: admit looks there.
-- keys: of limits, one for each place that a job has held which this transaction has ended.
-- Admit would do the same a moment later: this takes fewer steps, for jobs with one limit and nothing else to pass. If each job
-- waits for the one before, that makes 1.4 times as many a second. The rest is left to admit: jobs under several limits or a rate,
-- running jobs that want their places back, and all jobs while anything is paused. A place without a taker is noted, too: a job that
-- this does not see may be about to be enqueued.
-- Locks: the keys, SKIP LOCKED; then, in a statement of its own, as admit counts, the jobs, SKIP LOCKED.
create or replace function asyncjobs.pass_on(keys text[]) returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  held text[];
  told integer;
begin
  if not exists (select from asyncjobs.pause) then
    select array_agg(locked.key) into held
    from (select limit_key.key from (select distinct key from unnest(pass_on.keys) as k(key)) as wanted
          join asyncjobs.limit_key on limit_key.key >= wanted.key and limit_key.key <= wanted.key
          order by wanted.key for no key update of limit_key skip locked) as locked;
  end if;
  with room as materialized (
    select h.key, coalesce(limit_key.most, limits.most_by_hand, limits.most_by_config, limits.most) - taken.n as places
    from unnest(held) as h(key)
    cross join lateral (select * from asyncjobs.limit_key where limit_key.key = h.key offset 0) as limit_key
    cross join lateral (select * from asyncjobs.limits where limits.name = limit_key.name offset 0) as limits
    cross join lateral (
      select count(*) as n from asyncjobs.limited where limit_key = h.key and place = 0
    ) as taken
    where limits.spacing is null and not exists (select from asyncjobs.limit_pass where limit_pass.key = h.key offset 0)
  ), waiting as materialized (
    select room.key, first.*
    from room
    cross join lateral (
      select at, state, queue, priority, seq, limit_keys
      from asyncjobs.limited
      where limit_key = room.key and place between 1 and 2
      order by place, priority, seq
      limit least(greatest(room.places, 0), 1000) for no key update skip locked
    ) as first
  ), next as materialized (
    select ordered.*, nextval('asyncjobs.ready_seq') as new_seq
    from (select * from waiting where state = 1 and cardinality(limit_keys) = 1 order by priority, seq) as ordered
  ), let as (
    update asyncjobs.job set seq = next.new_seq, admitted = next.new_seq
    from next where job.ctid = next.at
    returning job.queue, job.seq, next.key
  ), noted as (
    insert into asyncjobs.limit_note (key)
    select key from (select key, 1 as places from unnest(pass_on.keys) as k(key) union all select key, -1 from let) as left_over
    group by key having sum(places) > 0
    returning n
  )
  select count(*) into told
  from (select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from let group by queue
        union all
        (select pg_notify('asyncjobs_limits', '') from noted limit 1)) as notices;
end
$$;
