-- What failing well needs: retries counted by declaration, expiry, cancellation of running jobs, suspects, and what a worker
-- tells of itself.

alter table asyncjobs.job
  add column expires_at timestamptz,        -- not started by then, it is discarded
  add column cancel_reason text,            -- asked to be cancelled while it ran; never started again
  add column counts text;                   -- JSON: how often each declaration has taken an error of this job
create index job_for_cancel on asyncjobs.job (worker) where state = 2 and cancel_reason is not null;
-- A job whose process died while it ran is a suspect until it is final, and is claimed by a statement of its own.
create index job_for_suspects on asyncjobs.job (queue, priority, seq) where state = 1 and crashes > 0;

alter table asyncjobs.worker
  add column host text not null default '',
  add column ended text,                    -- how its process ended, where that was seen: SIGKILL, code 1
  add column report text not null default '{}';    -- JSON: what goes on there, as of its last beat

-- Enqueue one job whose id may be in the table, or finished, already. A resend and a caller's own id come here.
-- Two statements, two snapshots: in one, a job that finishes between the check and the insert would run twice. (Under
-- REPEATABLE READ both see the transaction's one snapshot.)
-- Security definer: it removes a row of its own again, and an enqueuer has no right to remove jobs.
drop function asyncjobs.enqueue_once(uuid, text, text, integer, timestamptz, double precision, text);
create function asyncjobs.enqueue_once(
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
  if enqueue_once.kind is null or length(enqueue_once.kind) not between 1 and 200 then
    raise exception 'kind must have 1 to 200 characters' using errcode = '22023';
  elsif enqueue_once.queue is null or enqueue_once.queue !~ '^[A-Za-z0-9_.:][A-Za-z0-9_.:-]{0,63}$' then
    raise exception 'queue must be 1 to 64 letters, digits and _ . : - , not beginning with -' using errcode = '22023';
  elsif due not between '1970-01-01 00:00+00' and '9000-01-01 00:00+00' then
    raise exception 'run_at must lie between the years 1970 and 9000' using errcode = '22023';
  end if;
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
    perform pg_notify('asyncjobs_ready', made / 1024 * 1024 || ' ' || enqueue_once.queue);
  end if;
  return true;
end
$$;

-- The day of `finished` on which a job that ends now may go, as finish.sql has it.
create function asyncjobs.expires_on(days integer) returns date
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select case when days <= 31 then (clock_timestamp() at time zone 'UTC')::date + days
              else (date_trunc('month', clock_timestamp() at time zone 'UTC' + make_interval(days => days))
                    + interval '1 month - 1 day')::date end
$$;

-- What is retried and discarded by hand is looked for in the order of the ids, among the few that did not succeed.
create index finished_unsucceeded on asyncjobs.finished (id) where state > 4;
