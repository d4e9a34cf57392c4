-- Move running jobs that have ended to the history, and notify those who await them.
-- $1 ids, ascending  $2 fences  $3 states (4 to 7)  $4 results  $5 errors, one JSON line each  $6 reasons
-- $7 days for which each is kept, counted from the UTC day on; more than 31 are rounded up to the end of a month, as the partitions
-- are  $8 days, where $7 is empty
-- Of $3 to $7, an empty array stands for: all succeeded, no result, no error, no reason, $8 days.
-- Rows: one; how many were moved, and how many notices went out. Fewer moved than given: look the rest up by
-- finished_with_fence before saying that their lease is lost, since a lost answer looks the same.
-- Locks: the job rows, in the order of their ids. Only id and fence are matched: a state in the condition makes the
-- planner walk the dead rows of the running index (5,500/s against 18,800).
-- A job that was asked to be cancelled is cancelled, however its attempt ended: the lock of its row decides which came first.
-- `>=` and `<=` for `=`: to join by equality the planner may walk the whole primary key, and does when the table was
-- analysed while it was empty, as that of a quick queue mostly is: 8,000 ms a batch of 500 among 100,000 jobs, against 4.
with given as materialized (
  select id, fence, coalesce(state, 4::smallint) as state, result, error, reason, coalesce(days, $8::integer) as days
  from unnest($1::uuid[], $2::bigint[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::integer[])
       as g(id, fence, state, result, error, reason, days)
), gone as (
  delete from asyncjobs.job using given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence
  returning job.id, job.fence, job.enqueued_at, job.started_at, job.attempt, job.priority, job.crashes, job.kind,
            job.queue, job.args, job.errors, job.awaited, job.followed, job.progress, job.batch, job.tick, job.unique_key, job.unique_until,
            job.limit_keys, job.limit_kind, job.labels, job.searchable, given.error, given.days,
            case when job.cancel_reason is null then given.state else 7 end as state,
            case when job.cancel_reason is null then given.result end as result,
            coalesce(case when given.state = 7 then given.reason end, job.cancel_reason, given.reason) as reason
), moved as (
  insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                  crashes, kind, queue, args, result, errors, reason, progress, steps, batch, tick, unique_key,
                                  unique_until, limit_keys, limit_kind, labels, searchable)
  select id, fence,
         case when days <= 31 then (clock_timestamp() at time zone 'UTC')::date + days
              else (date_trunc('month', clock_timestamp() at time zone 'UTC' + make_interval(days => days))
                    + interval '1 month - 1 day')::date end, enqueued_at, started_at, clock_timestamp(),
         attempt, priority, state, crashes, kind, queue, args, result,
         case when error is null then errors else concat_ws(E'\n', errors, error) end, reason, progress,
         case when progress is not null then asyncjobs.fold_steps(id) end, batch, tick, unique_key, unique_until,
         limit_keys, limit_kind, labels, searchable
  from gone
), minded as materialized (      -- read once for all that follows: mostly it is nothing
  select id, state, result, reason, days, awaited, followed, limit_keys, limit_kind
  from gone where awaited or followed or limit_keys is not null
), told as (
  select pg_notify('asyncjobs_done', string_agg(left(id::text, 18), ','))  -- see client/awaiting.py
  from (select id, row_number() over () / 200 as part from minded where awaited) as awaited    -- a notice holds 8,000 bytes
  group by part
), passed_on as (
  select asyncjobs.pass_on(array_agg(key)) from minded, unnest(limit_keys) as keys(key) where limit_kind in (1, 3)
  having count(*) > 0
), passed as (
  delete from asyncjobs.limit_pass using minded where limit_pass.job >= minded.id and limit_pass.job <= minded.id and cardinality(minded.limit_keys) > 1
), followed as (
  select asyncjobs.follow(id, state, result, reason, days) from minded where followed
)
select (select count(*) from gone) as moved,
       (select count(*) from told) + (select count(*) from followed) + (select count(*) from passed_on) as told
