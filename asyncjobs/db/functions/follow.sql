-- Make ready the job that follows one that has ended: the next of its chain, or the newer one of its unique key.
-- state, result, reason: of the ended job; days: for which jobs that end with it are kept.
-- After a failed job the rest of its chain waits, since it may be retried; after a discarded or cancelled one the rest ends like it.
-- So it does if the result does not fit into the next one's arguments: no error of a chain may be raised here, since the statement
-- that calls this also ends other jobs.
-- Locks: the links to the following jobs, then their rows.
create or replace function asyncjobs.follow(job uuid, state integer, result text, reason text, days integer) returns void
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  told integer;
  next uuid[];
  too_large record;
  most constant integer := 1048576;         -- bytes of arguments, as asyncjobs.check_jobs has it
  given constant text := coalesce(follow.result, 'null');
begin
  if follow.state in (6, 7) then
    perform asyncjobs.end_rest(
      follow.job, follow.state, follow.days,
      'the job before it, ' || follow.job || ', was ' || case follow.state when 6 then 'discarded' else 'cancelled' end
      || coalesce(': ' || nullif(follow.reason, ''), ''));
  elsif follow.state = 4 and octet_length(given) > 500 then
    for too_large in
      select link.job,
             octet_length(job.args)
             + (length(job.args) - length(replace(job.args, to_json(link.previous)::text, '')))
               / length(to_json(link.previous)::text) * octet_length(given)::bigint as size
      from asyncjobs.link
      cross join lateral (select job.args from asyncjobs.job where job.id = link.job offset 0) as job
      where link.after = follow.job and not link.begun and not link.anyhow and link.previous is not null
    loop
      if too_large.size > most then
        perform asyncjobs.end_rest(
          follow.job, 6, follow.days,
          'with the result of the job before it, ' || follow.job || ', its arguments would have ' || too_large.size || ' bytes, of '
          || most || ' at most: store what is large elsewhere, and return its key');
      end if;
    end loop;
  end if;
  -- Both are locked before either is judged, in statements of their own: whoever cancels or retries the following job meanwhile is
  -- waited for, and seen.
  select array_agg(waiting.job) into next
  from (
    select link.job from asyncjobs.link
    where link.after = follow.job and not link.begun and (link.anyhow or follow.state = 4) offset 0 for update
  ) as waiting;
  if next is null then
    return;
  end if;
  perform from asyncjobs.job where job.id = any(next) and job.state + 0 = 0 order by job.id for update;
  with begun as (
    update asyncjobs.link set begun = true
    where link.after = follow.job and link.job = any(next) and not link.begun
      -- One that was discarded meanwhile begins when it is retried.
      and exists (select from asyncjobs.job where job.id = link.job and job.state + 0 = 0 offset 0)
    returning link.job, link.previous, link.expires_in,
              greatest(coalesce(link.run_at, '-infinity'), clock_timestamp() + make_interval(secs => coalesce(link.delay, 0))) as due
  ), made as (
    update asyncjobs.job
    set run_at = begun.due, seq = nextval('asyncjobs.ready_seq'), expires_at = begun.due + make_interval(secs => begun.expires_in),
        state = case when begun.due > clock_timestamp() then 0 else 1 end,
        args = case when begun.previous is null then job.args
                    else replace(job.args, to_json(begun.previous)::text, given) end
    from begun where job.id >= begun.job and job.id <= begun.job and job.state + 0 = 0
    returning job.queue, job.seq, job.state, job.limit_key, job.run_at
  )
  select count(notice.told) into told
  from (
    select pg_notify('asyncjobs_ready', min(seq) || ' ' || left(queue, 64)) as told
    from made where state = 1 and limit_key is null group by queue
    union all
    (select pg_notify('asyncjobs_due', '') from made where state = 0 and run_at < clock_timestamp() + interval '2 seconds' limit 1)
  ) as notice;
end
$$;
