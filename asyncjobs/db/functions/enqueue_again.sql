-- Enqueue one job whose id was enqueued before, or may have been; returns whether a row was made. Parameters as
-- asyncjobs.enqueue_once.
-- Refused above READ COMMITTED unless the job is seen; see asyncjobs.check_seen.
-- Locks: the new row; waits for another transaction that is inserting the same id.
create or replace function asyncjobs.enqueue_again(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_seen(enqueue_again.id);
  return asyncjobs.enqueue_once(enqueue_again.id, enqueue_again.kind, enqueue_again.queue, enqueue_again.priority,
                                enqueue_again.run_at, enqueue_again.delay, enqueue_again.args, enqueue_again.expires_in);
end
$$;
