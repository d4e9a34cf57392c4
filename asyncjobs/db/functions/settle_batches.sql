-- Enqueue the callbacks of batches, each exactly once: at the first job that ended and did not succeed, when all are final, and when
-- all have succeeded.
-- Returns the batches of which these are parts and which may be over with them.
-- Called after the commit of the ends, never in it: two transactions that end the last jobs at once do not see each other's, and the
-- end of the batch would go unnoticed (225 of 500). The second call waits for the batch's row and finds it done.
-- Plans: by the index on the batch alone, whatever the statistics say. That of live jobs is read to the first row; of the history
-- only jobs that did not succeed are read.
-- Security definer: a role that enqueues an empty batch settles it, and may have no right on the tables.
-- Locks: the batches that change, in the order of their ids; then the counts are read, in statements of their own.
create or replace function asyncjobs.settle_batches(ids uuid[]) returns uuid[]
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
set enable_bitmapscan = off
as $$
#variable_conflict use_column
declare
  one asyncjobs.batch;
  wanted uuid;
  is_bad boolean;
  is_over boolean;
  changed boolean;
  above uuid[] := '{}';
begin
  for wanted in select distinct g.id from unnest(settle_batches.ids) as g(id) order by g.id loop
    select * into one from asyncjobs.batch where batch.id = wanted and not batch.settled;
    continue when not found;
    -- Without a lock first: mostly there is nothing to do.
    if exists (select from asyncjobs.job where job.batch = wanted)
       or exists (select from asyncjobs.batch where batch.parent = wanted and not batch.settled) then
      continue when one.discarded_at is not null or not asyncjobs.is_spoilt(wanted);
    end if;
    select * into one from asyncjobs.batch where batch.id = wanted and not batch.settled for no key update;
    continue when not found;
    changed := false;
    -- Whether it is over comes first: what ends between the two looks would be missed by the other order, and the batch would
    -- have succeeded.
    is_over := not exists (select from asyncjobs.job where job.batch = wanted)
               and not exists (select from asyncjobs.batch where batch.parent = wanted and not batch.settled);
    is_bad := asyncjobs.is_spoilt(wanted);
    if is_bad and one.discarded_at is null then
      one.discarded_at := clock_timestamp();
      changed := true;
      perform asyncjobs.enqueue_given(one.on_discard) where one.on_discard is not null;
    end if;
    if is_over and one.finished_at is null then
      one.finished_at := clock_timestamp();
      perform asyncjobs.enqueue_given(one.on_finish) where one.on_finish is not null;
    end if;
    if is_over and not is_bad and one.succeeded_at is null
       and not exists (select from asyncjobs.batch where batch.parent = wanted and batch.succeeded_at is null) then
      one.succeeded_at := clock_timestamp();
      perform asyncjobs.enqueue_given(one.on_success) where one.on_success is not null;
    end if;
    if is_over or changed then
      update asyncjobs.batch
      set settled = is_over, discarded_at = one.discarded_at, finished_at = one.finished_at, succeeded_at = one.succeeded_at
      where batch.id = wanted;
      -- Whoever waits for the batch: as for a job.
      perform pg_notify('asyncjobs_done', left(wanted::text, 18)) where is_over;
      if one.parent is not null then
        above := above || one.parent;
      end if;
    end if;
  end loop;
  return above;
end
$$;
