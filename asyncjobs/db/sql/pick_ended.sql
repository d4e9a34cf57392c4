-- Jobs that ended other than well and that a filter matches, in the order of their ids, among the next so many.
-- $1 after this id  $2 look at so many  $3 states  $4 kinds, or null  $5 queue, or null  $6 ended by then
-- $7 the last error's type, or null  $8 text of its message as JSON has it, or null; one of the two is enough
-- $9 at most so many
-- Rows: at least one: the last id looked at (null: there was none), how many were looked at, and a job that matches (its
-- columns null: none does); of its error the type, and the beginning of the message, as JSON has them.
-- Index: finished_unsucceeded of each partition, merged.
with looked as materialized (
  select id, fence, state, kind, queue, attempt, finished_at, errors
  from asyncjobs.finished where state > 4 and id > $1::uuid order by id limit $2::integer
), matching as (
  select looked.*, last.type, last.message
  from looked
  cross join lateral (select reverse(split_part(reverse(errors), E'\n', 1)) as line) as stored
  cross join lateral (
    select substring(line from '"type"\s*:\s*"((?:[^"\\]|\\.)*)"') as type,
           substring(line from '"message"\s*:\s*"((?:[^"\\]|\\.)*)"') as message
  ) as last
  where state = any($3::smallint[]) and ($4::text[] is null or kind = any($4::text[]))
    and ($5::text is null or queue = $5::text) and finished_at <= $6::timestamptz
    and ($7::text is null or type = $7::text or right(type, length($7::text) + 1) = '.' || $7::text
         or strpos(message, $8::text) > 0)
  order by id limit $9::integer
)
select (select id from looked order by id desc limit 1) as last, (select count(*) from looked) as looked_at,
       matching.id, fence, state, kind, queue, attempt, finished_at as at, type, left(message, 400) as message
from (values (true)) as always left join matching on true
order by matching.id
