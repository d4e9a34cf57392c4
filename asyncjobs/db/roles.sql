-- Four roles for asyncjobs, each with as few rights as its work needs. Run it as a superuser, or as the owner of the schema with
-- CREATEROLE, after `asyncjobs db migrate` and again after every later migration. It is one transaction: what fails changes
-- nothing. Nothing here can log in: grant the roles to the logins of your applications, as in
--
--   create role web login password '…' in role asyncjobs_enqueuer;
--   create role worker login password '…' in role asyncjobs_worker;
--
-- asyncjobs_owner     owns everything; `asyncjobs db migrate` runs as it. Whoever runs this, and whoever has owned the schema
--                     before, is made a member, and can migrate; others: grant asyncjobs_owner to their_login
-- asyncjobs_enqueuer  enqueues every kind, or those that asyncjobs.allowed_kind names for its login; awaits, cancels, and asks for
--                     the status and the result of jobs whose ids it knows; reads no arguments, lists nothing, and neither changes
--                     nor removes a job otherwise
-- asyncjobs_worker    runs jobs, retries and discards them by hand; no DDL, no TRUNCATE
-- asyncjobs_viewer    looks, and sees no arguments; but results, errors, streams and what is recorded of steps, which may repeat
--                     them, keys and labels, which may be made of them, and in the audit by which of them jobs were chosen

begin;
-- Nothing that somebody has made elsewhere, an operator above all, takes part.
set local search_path = pg_catalog, pg_temp;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['asyncjobs_owner', 'asyncjobs_enqueuer', 'asyncjobs_worker', 'asyncjobs_viewer'] loop
    if not exists (select from pg_roles where rolname = wanted) then
      execute format('create role %I nologin', wanted);
    end if;
  end loop;
end
$$;

-- Who may give things to a role must be a member of it; and who has migrated goes on.
do $$
declare
  login name;
  to_set text := case when current_setting('server_version_num')::integer >= 160000 then 'SET' else 'MEMBER' end;
begin
  for login in
    select rolname from pg_roles
    where not rolsuper and rolname <> 'asyncjobs_owner'
      and (rolname = current_user or oid = (select nspowner from pg_namespace where nspname = 'asyncjobs'))
  loop
    -- Both are asked: since PostgreSQL 16 a role may be a member that inherits nothing, as one is that has made the other.
    if not pg_has_role(login, 'asyncjobs_owner', to_set) or not pg_has_role(login, 'asyncjobs_owner', 'USAGE') then
      execute format('grant asyncjobs_owner to %I', login);
    end if;
  end loop;
end
$$;

-- Ownership: the functions that are SECURITY DEFINER then run with these rights and no superuser's.
alter schema asyncjobs owner to asyncjobs_owner;
do $$
declare
  thing record;
begin
  for thing in
    select c.oid::regclass as name, c.relkind from pg_class c
    where c.relnamespace = 'asyncjobs'::regnamespace and c.relkind in ('r', 'p', 'S', 'v')
      -- a sequence of a column follows its table
      and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass
                      and d.deptype in ('a', 'i') and d.refobjsubid > 0)
  loop
    execute format('alter %s %s owner to asyncjobs_owner',
                   case thing.relkind when 'S' then 'sequence' when 'v' then 'view' else 'table' end, thing.name);
  end loop;
  for thing in select p.oid::regprocedure as name from pg_proc p where p.pronamespace = 'asyncjobs'::regnamespace loop
    execute format('alter function %s owner to asyncjobs_owner', thing.name);
  end loop;
end
$$;

-- A function may be executed by everybody unless that is taken back; and what an earlier version of this has granted.
revoke all on schema asyncjobs from public;
revoke all on all tables in schema asyncjobs from public, asyncjobs_enqueuer, asyncjobs_worker, asyncjobs_viewer;
revoke all on all sequences in schema asyncjobs from public, asyncjobs_enqueuer, asyncjobs_worker, asyncjobs_viewer;
revoke all on all functions in schema asyncjobs from public, asyncjobs_enqueuer, asyncjobs_worker, asyncjobs_viewer;
alter default privileges for role asyncjobs_owner revoke execute on functions from public;

grant usage on schema asyncjobs to asyncjobs_enqueuer, asyncjobs_worker, asyncjobs_viewer;
grant select on asyncjobs.migration to asyncjobs_enqueuer, asyncjobs_worker, asyncjobs_viewer;

-- Enqueue, await and cancel: by functions alone, which check what they are given and say nothing of jobs whose ids were not.
grant execute on function
  asyncjobs.enqueue_once(uuid, text, text, integer, timestamptz, double precision, text, double precision),
  asyncjobs.enqueue_again(uuid, text, text, integer, timestamptz, double precision, text, double precision),
  asyncjobs.enqueue_rows(uuid[], text[], text[], text[], smallint[], timestamptz[], double precision[], text, text, smallint,
                         double precision[], text[], text[]),
  asyncjobs.enqueue_row(uuid, text, text, smallint, text, boolean),
  asyncjobs.enqueue_ordered(uuid[], text[], text[], integer[], text[], timestamptz[], double precision[], double precision[],
                            text[]),
  asyncjobs.enqueue_ordered(uuid, text, text, integer, timestamptz, double precision, text, double precision, text),
  asyncjobs.enqueue_given(text, boolean),
  asyncjobs.enqueue_within(uuid, bigint, text),
  asyncjobs.begin_batch(text),
  asyncjobs.settle_batches(uuid[]),
  asyncjobs.batch_status(uuid),
  asyncjobs.batches(uuid[]),
  asyncjobs.batches_above(uuid),
  asyncjobs.enqueue(text, json, text, integer, timestamptz, uuid, text, jsonb, text[], text[]),
  asyncjobs.enqueue(text, jsonb, text, integer, timestamptz, uuid, text, jsonb, text[], text[]),
  asyncjobs.enqueue(text, text, text, integer, timestamptz, uuid, text, jsonb, text[], text[]),
  asyncjobs.cancel(uuid, text, integer),
  asyncjobs.cancel_each(uuid[], text, integer),
  asyncjobs.take_token(text, double precision, integer),
  asyncjobs.emit(text, text, json),
  asyncjobs.emit(text, text, jsonb),
  asyncjobs.emit(text, text, text),
  asyncjobs.emit(text, anynonarray, json),
  asyncjobs.emit(text, anynonarray, jsonb),
  asyncjobs.emit(text, anynonarray, text),
  asyncjobs.check_seen(uuid),
  asyncjobs.labels(jsonb, text[]),
  asyncjobs.searchable(json, text[]),
  asyncjobs.check_readable(text, text),
  asyncjobs.as_json(text, text),
  asyncjobs.status(uuid),
  asyncjobs.depth(text, integer),
  asyncjobs.placeless(text),
  asyncjobs.await_jobs(uuid[]),
  asyncjobs.live(uuid[]),
  asyncjobs.ended(uuid[]),
  asyncjobs.states(uuid[]),
  asyncjobs.progress(uuid[]),
  asyncjobs.stream(uuid, bigint, integer),
  asyncjobs.new_id()
to asyncjobs_enqueuer;

-- Work.
grant select, insert, update, delete on asyncjobs.job, asyncjobs.worker, asyncjobs.step, asyncjobs.event, asyncjobs.batch,
  asyncjobs.link, asyncjobs.limits, asyncjobs.limit_key, asyncjobs.limit_note, asyncjobs.limit_pass, asyncjobs.unique_window,
  asyncjobs.recurring, asyncjobs.recurring_tick, asyncjobs.recurring_version, asyncjobs.pause, asyncjobs.queue_figures,
  asyncjobs.live_job, asyncjobs.stream_item, asyncjobs.audit
  to asyncjobs_worker;
grant select, insert on asyncjobs.finished to asyncjobs_worker;
grant select on asyncjobs.job_status to asyncjobs_worker;
grant select, update on asyncjobs.limited to asyncjobs_worker;
grant usage, select on all sequences in schema asyncjobs to asyncjobs_worker;
grant execute on all functions in schema asyncjobs to asyncjobs_worker;

-- Look. Columns are named, so that a new one stays hidden until somebody decides otherwise.
grant select (id, seq, fence, run_at, enqueued_at, started_at, expires_at, worker, attempt, priority, state, crashes,
              awaited, kind, queue, errors, counts, cancel_reason, progress, waits_fence, waits_for, waits_timed,
              apart, together, batch, tick, unique_key, unique_until, limit_key, limit_keys, limit_kind, admitted, followed, labels)
  on asyncjobs.job to asyncjobs_viewer;
grant select (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state, crashes, kind,
              queue, result, errors, reason, progress, steps, batch, tick, unique_key, unique_until, limit_keys, limit_kind, labels)
  on asyncjobs.finished to asyncjobs_viewer;
grant select (id, fence, state, kind, queue, priority, seq, attempt, crashes, result, errors, error, reason, cancel_reason, counts,
              enqueued_at, run_at, started_at, finished_at, expires_at, worker, apart, together, progress, steps, labels)
  on asyncjobs.job_status to asyncjobs_viewer;
grant select (name, seen_until, changed_at, revision, expires_in, jitter, priority, enabled, next_at, paused_at, removed_at, kind,
              queue, schedule, timezone, catch_up, overlap, declared, scope, digest, version, trouble)
  on asyncjobs.recurring to asyncjobs_viewer;
grant select (queue, kind, run_at, place) on asyncjobs.limited to asyncjobs_viewer;
grant select on asyncjobs.recurring_tick to asyncjobs_viewer;
grant select (id, parent, settled, made_at, discarded_at, finished_at, succeeded_at, description, gone)
  on asyncjobs.batch to asyncjobs_viewer;
grant select (job, after, anyhow, begun, delay, run_at, expires_in) on asyncjobs.link to asyncjobs_viewer;
grant execute on function asyncjobs.find(json, integer), asyncjobs.count(json, integer), asyncjobs.condition(json),
  asyncjobs.shown(timestamptz), asyncjobs.batch_status(uuid), asyncjobs.goes_along(uuid),
  asyncjobs.progress(uuid[]), asyncjobs.stream(uuid, bigint, integer)
  to asyncjobs_viewer;
grant select on asyncjobs.worker, asyncjobs.pause, asyncjobs.audit, asyncjobs.queue_figures, asyncjobs.limits, asyncjobs.limit_key, asyncjobs.limit_pass
  to asyncjobs_viewer;
grant select on sequence asyncjobs.ready_seq, asyncjobs.fence_seq to asyncjobs_viewer;
grant select (job, n, name, state, attempt, started_at, finished_at, wakes_at, event, key, result, cursor, error,
              children)
  on asyncjobs.step to asyncjobs_viewer;

commit;
