-- Jobs, newest first by id (a UUIDv7 begins with its time).
-- $1 states, or null  $2 kind, or null  $3 queue, or null  $4 ids below this one, or null  $5 number of jobs, at most
-- $6 text anywhere in their errors, escaped as in JSON, or null  $7 seconds since they ended, or for live ones were enqueued, or null
-- Rows: no arguments and no results, which a viewer may not read; of the errors the last one, one JSON line.
-- Index: job_pkey and finished_by_id of each partition, all backwards, merged. A filter that matches few rows walks far: the
-- caller's statement_timeout bounds it.
select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason, error
from asyncjobs.job_status
where ($1::smallint[] is null or state = any($1::smallint[])) and ($2::text is null or kind = $2::text)
  and ($3::text is null or queue = $3::text) and ($4::uuid is null or id < $4::uuid)
  and ($6::text is null or strpos(errors, $6::text) > 0)
  and ($7::float8 is null or coalesce(finished_at, enqueued_at) <= clock_timestamp() - make_interval(secs => $7::float8))
order by id desc limit $5::integer
