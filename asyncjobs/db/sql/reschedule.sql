-- Give running jobs back: to be retried, snoozed, or unspent because the worker stops.
-- $1 ids, ascending  $2 fences  $3 seconds until they are due  $4 errors, one JSON line each  $5 counts (JSON text)
-- $6 whether the attempt is spent  $7 queues  $8 priorities  $9 whether it ended with its process
-- $10 whether it was started in time  $11 whether it waits for an event, for $3 seconds at most, or without a limit if that
-- is 0  $12 number of suspects that share a process with it from now on, at most
-- $13 limits that it is to pass from now on, a JSON array
-- Of $3 to $13 an empty array stands for: due now, no error, counts as they are, unspent, queue and priority as they are.
-- Rows: one; how many were given back, and how many notices went out.
-- The fence is negated, not removed: so a resend after a lost answer writes nothing, and finds that it was written.
-- A job that was snoozed or interrupted has started in time, and does not expire any more, though its attempt is not spent.
-- A job whose event came before this is ready at once: see asyncjobs.emit.
-- A job that was asked to be cancelled meanwhile is ready at once: the worker that claims it ends it.
-- Of more than a megabyte of errors the oldest are dropped: attempts = "unlimited" would fill the disk.
-- A job that was claimed ahead and not started keeps its seq, and so its place: the notice has workers look there again. One with
-- limits takes a new one, which has it wait at them again.
-- Locks: the job rows, in the order of their ids. `>=` and `<=` for `=`: see finish.sql.
with given as materialized (
  select g.id, g.fence, coalesce(g.delay, 0) as delay, g.error, g.counts, coalesce(g.spent, false) as spent, g.queue, g.priority,
         coalesce(g.crashed, false) as crashed, coalesce(g.started, false) as started, coalesce(g.waits, false) as waits,
         g.together,
         (select array_agg(l.one->>'key' order by l.place)
          from json_array_elements(g.limits::json) with ordinality as l(one, place)) as limit_keys,
         (select bit_or((l.one->>'most' is not null)::integer + 2 * (l.one->>'spacing' is not null)::integer)
          from json_array_elements(g.limits::json) as l(one))::smallint as limit_kind
  from unnest($1::uuid[], $2::bigint[], $3::float8[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::smallint[],
              $9::boolean[], $10::boolean[], $11::boolean[], $12::smallint[], $13::text[])
       as g(id, fence, delay, error, counts, spent, queue, priority, crashed, started, waits, together, limits)
), again as (
  update asyncjobs.job
  set state = case when job.cancel_reason is not null or (given.waits and job.woken) then 1
                   when given.waits then 3 when given.delay > 0 then 0 else 1 end,
      woken = false, unique_until = case when given.waits and unique_until = 2 then -3 else unique_until end,
      seq = case when given.spent or given.started or given.delay > 0 or given.waits or job.limit_keys is not null
                      or given.limit_keys is not null
                 then nextval('asyncjobs.ready_seq') else job.seq end,
      fence = -job.fence, worker = null,
      started_at = case when given.spent then job.started_at end,
      run_at = case when given.waits and given.delay <= 0 and not job.woken then 'infinity'
                    when given.spent or given.delay > 0
                    then clock_timestamp() + make_interval(secs => given.delay) else job.run_at end,
      attempt = case when given.spent then job.attempt else greatest(job.attempt - 1, 0) end,
      errors = case when given.error is null then job.errors
                    when octet_length(job.errors) > 1048576
                      then substring(right(job.errors, 524288) from E'\n(.*)$') || E'\n' || given.error
                    else concat_ws(E'\n', job.errors, given.error) end,
      expires_at = case when not given.started then job.expires_at end,
      counts = coalesce(given.counts, job.counts), crashes = least(job.crashes, 32766) + given.crashed::integer,
      together = coalesce(given.together, job.together), spared = 0,
      queue = coalesce(given.queue, job.queue), priority = coalesce(given.priority, job.priority),
      limit_key = coalesce(given.limit_keys[1], job.limit_key), limit_keys = coalesce(given.limit_keys, job.limit_keys),
      limit_kind = coalesce(given.limit_kind, job.limit_kind)
  from given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence
  returning job.queue, job.seq, job.state, job.run_at, given.limit_keys[1] as limited_by
), ready as (
  select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) from again where state = 1 group by queue
), due as (
  select pg_notify('asyncjobs_due', '') from again
  where state in (0, 3) and run_at < clock_timestamp() + interval '2 seconds' limit 1
), noted as (
  insert into asyncjobs.limit_note (key) select limited_by from again where limited_by is not null returning n
)
select (select count(*) from again) as given_back,
       (select count(*) from ready) + (select count(*) from due)
         + (select count(pg_notify('asyncjobs_limits', '')) from (select from noted limit 1) as first) as told
