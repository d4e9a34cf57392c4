-- End the rest of a chain: the job that waits for a given one, the one after it, and so on, all in one statement.
-- The links stay: retried by hand, the jobs wait again. Rows: none.
-- Locks: the rows of these jobs, in the order of their ids.
create or replace function asyncjobs.end_rest(after uuid, state integer, days integer, reason text) returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  rest uuid[];
begin
  with recursive later as (
    select next.job
    from (
      select link.job from asyncjobs.link where link.after = end_rest.after and not link.anyhow and not link.begun offset 0
    ) as next
    union
    select next.job
    from later
    cross join lateral (
      select link.job from asyncjobs.link where link.after = later.job and not link.anyhow and not link.begun offset 0
    ) as next
  )
  select array_agg(later.job order by later.job) into rest from later;
  if rest is null then
    return;
  end if;
  perform from asyncjobs.job where job.id = any(rest) and job.state + 0 = 0 order by job.id for update;
  -- It is said here of all of them: each by itself would look for its own rest again.
  update asyncjobs.job set followed = false where job.id = any(rest) and job.state + 0 = 0 and job.followed;
  perform from asyncjobs.move(rest, array_fill(end_rest.reason, array[cardinality(rest)]), end_rest.state, end_rest.days);
end
$$;
