-- The jobs with unique keys that would add no ready job to their queue, since another job has the key.
-- given: a JSON array of objects, as asyncjobs.enqueue_ordered takes them: key, queue, conflict, window.
-- Returns a JSON array of their keys. Uncommitted jobs of others are not seen.
-- Security definer: an enqueuer has no right on the tables.
create or replace function asyncjobs.placeless(given text) returns text
language sql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
as $$
  select coalesce(json_agg(one.key), '[]')::text
  from json_to_recordset(placeless.given::json) as one(key text, queue text, conflict text, "window" double precision)
  left join lateral (
    select job.id, job.state, job.queue from asyncjobs.job where job.unique_key = one.key and job.unique_until >= 0 offset 0
  ) as other on true
  left join lateral (
    select kept.key from asyncjobs.unique_window as kept
    where one."window" is not null and kept.key = one.key and kept.until > clock_timestamp()
      and (exists (select from asyncjobs.job where job.id = kept.job offset 0)
           or exists (select from asyncjobs.finished where finished.id = kept.job offset 0))
    offset 0
  ) as kept on true
  where case when other.id is null then kept.key is not null
             -- It takes the new time and queue, unless it runs: then the new one waits for its end.
             else one.conflict <> 'replace' or other.state not in (0, 1) or (other.state = 1 and other.queue = one.queue) end
$$;
