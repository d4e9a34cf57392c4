-- Live jobs that a filter matches, in the order of their ids, among the next so many.
-- $1 after this id  $2 look at so many  $3 states  $4 kinds, or null  $5 queue, or null  $6 enqueued by then
-- $7 the last error's type, or null  $8 text of its message as JSON has it, or null; one of the two is enough
-- $9 at most so many
-- Rows: at least one: the last id looked at (null: there was none), how many were looked at, and a job that matches (its
-- columns null: none does); of its error the type, and the beginning of the message, as JSON has them.
-- Index: job_pkey, one range. Those scheduled for their first run match as such: `attempt` is 0.
with looked as materialized (
  select id, fence, state, kind, queue, attempt, enqueued_at, errors, cancel_reason
  from asyncjobs.job where id > $1::uuid order by id limit $2::integer
), matching as (
  select looked.*, last.type, last.message
  from looked
  cross join lateral (select reverse(split_part(reverse(errors), E'\n', 1)) as line) as stored
  cross join lateral (
    select substring(line from '"type"\s*:\s*"((?:[^"\\]|\\.)*)"') as type,
           substring(line from '"message"\s*:\s*"((?:[^"\\]|\\.)*)"') as message
  ) as last
  where state = any($3::smallint[]) and ($4::text[] is null or kind = any($4::text[]))
    and ($5::text is null or queue = $5::text) and enqueued_at <= $6::timestamptz
    and not (state = 2 and cancel_reason is not null)
    and ($7::text is null or type = $7::text or right(type, length($7::text) + 1) = '.' || $7::text
         or strpos(message, $8::text) > 0)
  order by id limit $9::integer
)
select (select id from looked order by id desc limit 1) as last, (select count(*) from looked) as looked_at,
       matching.id, fence, state, kind, queue, attempt, enqueued_at as at, type, left(message, 400) as message
from (values (true)) as always left join matching on true
order by matching.id
