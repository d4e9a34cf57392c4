-- Jobs, newest first by id (a UUIDv7 begins with its time).
-- $1 states, or null  $2 kind, or null  $3 queue, or null  $4 ids below this one, or null  $5 at most so many
-- $6 what is somewhere in their errors, as JSON has it, or null  $7 ended, or live ones enqueued, so many seconds ago, or null
-- Rows: no arguments and no results, which a viewer may not read; of the errors the last one, one JSON line.
-- Index: job_pkey and finished_by_id of each partition, both backwards. A filter that matches few rows walks far: the
-- caller's statement_timeout bounds it.
-- A time written by hand that Python cannot hold is shown as the nearest that it can.
-- The errors are cut outside, so that only those of the rows that are returned are read out of TOAST.
select id, state, kind, queue, priority, attempt, crashes, enqueued_at, run_at, started_at, finished_at, worker, reason,
       reverse(split_part(reverse(errors), E'\n', 1)) as error
from (
  (select id, state, kind, queue, priority, attempt, crashes,
          least(greatest(enqueued_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as enqueued_at,
          least(greatest(run_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as run_at,
          case when started_at is not null then least(greatest(started_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end as started_at,
          null::timestamptz as finished_at, worker, null::text as reason, errors
   from asyncjobs.job
   where ($1::smallint[] is null or state = any($1::smallint[])) and ($2::text is null or kind = $2::text)
     and ($3::text is null or queue = $3::text) and ($4::uuid is null or id < $4::uuid)
     and ($6::text is null or strpos(errors, $6::text) > 0)
     and ($7::float8 is null or job.enqueued_at <= clock_timestamp() - make_interval(secs => $7::float8))
   order by id desc limit $5::integer)
  union all
  (select id, state, kind, queue, priority, attempt, crashes,
          least(greatest(enqueued_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as enqueued_at,
          null, case when started_at is not null then least(greatest(started_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') end,
          least(greatest(finished_at, '0001-01-02 00:00+00'), '9999-12-30 00:00+00') as finished_at, null, reason, errors
   from asyncjobs.finished
   where ($1::smallint[] is null or state = any($1::smallint[])) and ($2::text is null or kind = $2::text)
     and ($3::text is null or queue = $3::text) and ($4::uuid is null or id < $4::uuid)
     and ($6::text is null or strpos(errors, $6::text) > 0)
     and ($7::float8 is null or finished.finished_at <= clock_timestamp() - make_interval(secs => $7::float8))
   order by id desc limit $5::integer)
  order by id desc limit $5::integer
) as page
order by id desc
