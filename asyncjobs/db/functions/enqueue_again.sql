-- Enqueue one job whose id was enqueued before, or may have been; returns whether a row was made. Parameters as
-- asyncjobs.enqueue_once.
-- Above READ COMMITTED a statement sees what there was when the transaction began: a job that is not there may have been
-- enqueued and finished since, and would run twice.
-- Locks: the new row; waits for another transaction that is inserting the same id.
create or replace function asyncjobs.enqueue_again(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
declare
  level text := current_setting('transaction_isolation');
begin
  if level in ('repeatable read', 'serializable') then
    if exists (select from asyncjobs.job where job.id = enqueue_again.id)
       or exists (select from asyncjobs.finished where finished.id = enqueue_again.id) then
      return false;
    end if;
    raise exception 'id % was enqueued before or is your own, and in a % transaction nobody can see whether its job has '
                    'finished since that began: enqueue it in a READ COMMITTED transaction', enqueue_again.id, upper(level)
      using errcode = '40001';
  end if;
  return asyncjobs.enqueue_once(enqueue_again.id, enqueue_again.kind, enqueue_again.queue, enqueue_again.priority,
                                enqueue_again.run_at, enqueue_again.delay, enqueue_again.args, enqueue_again.expires_in);
end
$$;
