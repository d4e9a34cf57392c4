-- Find the ready job that is to run next and is not paused.
-- $1 known kinds  $2 queues; null: any  $3 id; null: any
-- $4 ids to leave out, as text: uuid[] costs asyncpg a look at the catalogue in each new session, 9 ms
-- Rows: none or one.
select id, kind, crashes from asyncjobs.job
where state = 1 and kind = any($1::text[]) and ($2::text[] is null or queue = any($2::text[])) and ($3::uuid is null or id = $3::uuid)
  and id::text <> all($4::text[])
  and not exists (select from asyncjobs.pause
                  where ((scope = 'queue' and name = job.queue) or (scope = 'kind' and name = job.kind))
                    and (until is null or until > clock_timestamp()))
order by priority, seq limit 1
