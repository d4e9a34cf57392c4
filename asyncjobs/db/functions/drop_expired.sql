-- Drop the partitions of finished whose day is over; returns how many.
-- How the jobs of batches had ended is kept with these: a batch that is open, or retried, for longer than its jobs are kept
-- must not have succeeded for want of those that did not.
-- Locks: each of those alone, then its batches and the progress of its jobs, for its TRUNCATE: it frees the space even when a reader of the parent keeps the DROP from its lock.
create or replace function asyncjobs.drop_expired() returns integer
language plpgsql security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '50ms'
as $$
declare
  today text := to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD');
  name text;
  dropped integer := 0;
  droppable boolean := true;
begin
  for name in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'asyncjobs.finished'::regclass and c.relname < 'finished_' || today
    order by c.relname
  loop
    -- A block of its own: what fails in a block takes back all that the block did.
    begin
      execute format('lock table asyncjobs.%I', name);
      execute format($update$
        update asyncjobs.batch
        set gone = array[batch.gone[1] + lost.n4, batch.gone[2] + lost.n5, batch.gone[3] + lost.n6, batch.gone[4] + lost.n7]
        from (
          select batch, count(*) filter (where state = 4) as n4, count(*) filter (where state = 5) as n5,
                 count(*) filter (where state = 6) as n6, count(*) filter (where state = 7) as n7
          from asyncjobs.%I where batch is not null group by batch
        ) as lost
        where batch.id = lost.batch $update$, name);
      -- Their streams may hold millions of items, which asyncjobs.live_job then names, to be deleted in parts.
      execute format('update asyncjobs.live_job as live set gone = true from asyncjobs.%I as finished where live.job = finished.id', name);
      execute format('truncate asyncjobs.%I', name);
    exception when lock_not_available then
      return dropped;                       -- somebody reads it; the next round tries again
    end;
    if droppable then
      begin
        execute format('drop table asyncjobs.%I', name);
        dropped := dropped + 1;
      exception when lock_not_available then
        droppable := false;                 -- somebody reads the parent, and will as long for the next ones
      end;
    end if;
  end loop;
  return dropped;
end
$$;
