-- Note every limit that a job waits at or has passed: at all of them, other jobs may pass now.
-- A loose scan, one descent of job_for_limits a key.
create or replace function asyncjobs.note_all_limits() returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  insert into asyncjobs.limit_note (key)
  with recursive keys as (
    (select limit_key from asyncjobs.job where limit_key is not null and state in (1, 2) order by limit_key limit 1)
    union all
    select (select job.limit_key from asyncjobs.job
            where job.limit_key > keys.limit_key and job.state in (1, 2) order by job.limit_key limit 1)
    from keys where keys.limit_key is not null
  )
  select limit_key from keys where limit_key is not null;
  if found then
    perform pg_notify('asyncjobs_limits', '');
  end if;
end
$$;
