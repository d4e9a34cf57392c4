-- The number of ready jobs in a queue, with those that wait at a limit or are paused; at most `most` are counted.
-- Scheduled and running jobs do not count. Index: job_for_claim and job_at_limits, a stretch of each.
create or replace function asyncjobs.depth(queue text, most integer) returns integer
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
as $$
begin
  return (
    select count(*)
    from (
      (select from asyncjobs.job
       where state = 1 and (limit_key is null or admitted = seq) and job.queue = depth.queue limit depth.most)
      union all
      (select from asyncjobs.job
       where state = 1 and limit_key is not null and admitted is distinct from seq and job.queue = depth.queue limit depth.most)
      limit depth.most
    ) as ready
  );
end
$$;
