-- The progress of jobs, running or final, and how many items their streams have. Rows: at most one an id; none for jobs that have
-- shown nothing; done is null for those that have only sent items, and where it is no number (written by hand).
create or replace function asyncjobs.progress(ids uuid[]) returns table (
  job uuid, done double precision, total double precision, note text, shown_at timestamptz, items bigint
)
language plpgsql stable security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
begin
  perform asyncjobs.check_ids(progress.ids);
  return query
  select live.job, case when live.done between -1.7e308 and 1.7e308 then live.done end, case when live.total between -1.7e308 and 1.7e308 then live.total end,
         live.note, asyncjobs.shown(live.shown_at),
         coalesce((select max(item.n) from asyncjobs.stream_item as item where item.job = live.job), 0)
  from unnest(progress.ids) as given(id)
  cross join lateral (select * from asyncjobs.live_job where live_job.job = given.id and not live_job.gone offset 0) as live;
end
$$;
