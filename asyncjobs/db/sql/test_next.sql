-- Find the ready job that is to run next.
-- $1 kinds known here  $2 of these queues only; null: any  $3 this one only; null: any
-- $4 none of these, as text: uuid[] costs asyncpg a look at the catalogue in each new session, 9 ms
-- Rows: none or one.
select id, kind, crashes from asyncjobs.job
where state = 1 and kind = any($1::text[]) and ($2::text[] is null or queue = any($2::text[])) and ($3::uuid is null or id = $3::uuid)
  and id::text <> all($4::text[])
order by priority, seq limit 1
