-- Enqueue one job whose id may exist already, live or finished; returns whether a row was made.
-- run_at: when it is due; null: in `delay` seconds; expires_in: seconds after it is due within which it must start.
-- Two statements, two snapshots: in one, a job that finishes between the check and the insert would run twice. (Under
-- REPEATABLE READ both see the transaction's one snapshot.)
-- Security definer: it removes a row of its own again, and an enqueuer has no right to remove jobs.
-- Locks: the new row; waits for another transaction that is inserting the same id.
create or replace function asyncjobs.enqueue_once(
  id uuid, kind text, queue text, priority integer, run_at timestamptz, delay double precision, args text,
  expires_in double precision default null
) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  due timestamptz := coalesce(enqueue_once.run_at,
                              clock_timestamp() + make_interval(secs => coalesce(enqueue_once.delay, 0)));
  later boolean := due > clock_timestamp();
  made bigint;
  removed integer;
begin
  perform asyncjobs.check_jobs(enqueue_once.kind, enqueue_once.queue, enqueue_once.priority,
                               octet_length(enqueue_once.args), due, due);
  insert into asyncjobs.job (id, kind, queue, priority, run_at, state, args, expires_at)
  values (enqueue_once.id, enqueue_once.kind, enqueue_once.queue, enqueue_once.priority, due,
          case when later then 0 else 1 end, enqueue_once.args, due + make_interval(secs => enqueue_once.expires_in))
  on conflict do nothing
  returning job.seq into made;
  if made is null then
    return false;
  end if;
  delete from asyncjobs.job
  where job.id = enqueue_once.id
    and exists (select from asyncjobs.finished where finished.id = enqueue_once.id);
  get diagnostics removed = row_count;
  if removed > 0 then
    return false;
  end if;
  if later then
    if due < clock_timestamp() + interval '2 seconds' then
      perform pg_notify('asyncjobs_due', '');
    end if;
  else
    -- Rounded down: the jobs of a transaction mostly have the same payload, and are told of once.
    perform pg_notify('asyncjobs_ready', made / 1024 * 1024 || ' ' || left(enqueue_once.queue, 64));
  end if;
  return true;
end
$$;
