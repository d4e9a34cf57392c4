-- Move one running job to the history without what is recorded of its steps and attributes: the database takes no more of it.
-- $1 id  $2 fence  $3 state (4 to 7)  $4 error, one JSON line, or null  $5 reason, or null
-- $6 days it is kept, as in finish.sql
-- Rows: one; how many were moved, and how many notices went out.
-- Locks: the job row. Index: job_pkey.
with gone as (
  delete from asyncjobs.job where id = $1::uuid and fence = $2::bigint
  returning id, fence, enqueued_at, started_at, attempt, priority, crashes, kind, queue, args, errors, awaited, cancel_reason
), dropped as (
  delete from asyncjobs.step using gone where step.job = gone.id
), moved as (
  insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, attempt, priority, state,
                                  crashes, kind, queue, args, errors, reason)
  select id, fence, case when $6::integer <= 31 then (clock_timestamp() at time zone 'UTC')::date + $6::integer
                         else (date_trunc('month', clock_timestamp() at time zone 'UTC' + make_interval(days => $6::integer))
                               + interval '1 month - 1 day')::date end, enqueued_at, started_at, clock_timestamp(), attempt, priority,
         $3::smallint, crashes, kind, queue, args, concat_ws(E'\n', errors, $4::text),
         coalesce($5::text, case when $3::smallint = 7 then cancel_reason end)
  from gone
), told as (
  select pg_notify('asyncjobs_done', id::text) from gone where awaited
)
select (select count(*) from gone) as moved, (select count(*) from told) as told
