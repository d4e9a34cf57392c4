-- Jobs that a filter may match, in the order of their ids, among the next $2: live ones, or those that ended without success.
-- $1 the id to go on after  $2 number of jobs to read  $3 states  $4 kinds, or null  $5 queue, or null
-- $6 latest time of enqueueing, or of the end  $7 text anywhere in its errors, escaped as in JSON, or null
-- $8 number of rows, at most  $9 labels, all of which it has, or null  $10 whether they have ended
-- Rows: at least one: the last id that was read (null: none), the number of jobs that were read, and a job (its columns null:
-- none matches); with $7 the end of its errors, else null. The caller compares the last error: done here,
-- that took 200 us a job.
-- Index: job_pkey, one range; or finished_unsucceeded of each partition, merged. The other part is not begun.
with looked as materialized (
  select *
  from (
    (select id, fence, state, kind, queue, attempt, enqueued_at as at, errors, cancel_reason, labels
     from asyncjobs.job where not $10::boolean and id > $1::uuid order by id limit $2::integer)
    union all
    (select id, fence, state, kind, queue, attempt, finished_at, errors, null, labels
     from asyncjobs.finished where $10::boolean and state > 4 and id > $1::uuid order by id limit $2::integer)
  ) as either
  order by id limit $2::integer
), matching as (
  select * from looked
  where state = any($3::smallint[]) and ($4::text[] is null or kind = any($4::text[]))
    and ($5::text is null or queue = $5::text) and at <= $6::timestamptz
    and not (state = 2 and cancel_reason is not null)
    and ($7::text is null or strpos(errors, $7::text) > 0)
    and ($9::text[] is null or labels @> $9::text[])
  order by id limit $8::integer
)
select (select id from looked order by id desc limit 1) as last, (select count(*) from looked) as looked_at,
       matching.id, fence, state, kind, queue, attempt, at, case when $7::text is not null then right(errors, 100000) end as errors
from (values (true)) as always left join matching on true
order by matching.id
