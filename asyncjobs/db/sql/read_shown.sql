-- One job for a page: what is long is left out.
-- $1 id  $2 octets of arguments, result and attributes that are not long  $3 octets of errors and steps that are not long
-- Rows: none or one: the columns of read_status.sql, then sizes. Of long errors the end; long steps without results and cursors.
-- Index: see asyncjobs.job_status.
with one as materialized (
  select id, state, kind, queue, priority, attempt, crashes, args, result, errors, reason, enqueued_at, run_at, started_at,
         finished_at, worker, cancel_reason, counts, expires_at, progress, steps, labels
  from asyncjobs.job_status where id = $1::uuid
  limit 1
)
select id, state, kind, queue, priority, attempt, crashes, case when octet_length(args) <= $2::integer then args end as args,
       case when octet_length(result) <= $2::integer then result end as result, right(errors, $3::integer) as errors, reason,
       enqueued_at, run_at, started_at, finished_at, worker, cancel_reason, counts, expires_at,
       case when octet_length(progress) <= $2::integer then progress end as progress,
       case when octet_length(steps) <= $3::integer then steps
            else (select json_agg(to_json(step) order by n)::text
                  from (select n, name, state, attempt, started_at, finished_at, wakes_at, event, key
                        from json_populate_recordset(null::asyncjobs.step, one.steps::json) order by n desc limit 500) as step)
       end as steps, labels,
       octet_length(args) as args_size, octet_length(result) as result_size, octet_length(steps) as steps_size, octet_length(progress) as progress_size
from one
