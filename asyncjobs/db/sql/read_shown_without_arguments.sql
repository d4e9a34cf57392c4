-- As read_shown.sql, for roles that may not read arguments.
-- $1 id  $2 octets of result and attributes that are not long  $3 octets of errors and steps that are not long
with one as materialized (
  select id, state, kind, queue, priority, attempt, crashes, result, errors, reason, enqueued_at, run_at, started_at,
         finished_at, worker, cancel_reason, counts, expires_at, progress, steps, labels
  from asyncjobs.job_status where id = $1::uuid
  limit 1
)
select id, state, kind, queue, priority, attempt, crashes, null::text as args,
       case when octet_length(result) <= $2::integer then result end as result, right(errors, $3::integer) as errors, reason,
       enqueued_at, run_at, started_at, finished_at, worker, cancel_reason, counts, expires_at,
       case when octet_length(progress) <= $2::integer then progress end as progress,
       case when octet_length(steps) <= $3::integer then steps
            else (select json_agg(to_json(step) order by n)::text
                  from (select n, name, state, attempt, started_at, finished_at, wakes_at, event, key
                        from json_populate_recordset(null::asyncjobs.step, one.steps::json) order by n desc limit 500) as step)
       end as steps, labels,
       null::integer as args_size, octet_length(result) as result_size, octet_length(steps) as steps_size, octet_length(progress) as progress_size
from one
