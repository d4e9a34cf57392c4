-- End the rest of chains whose failed job was dropped from the history, and cannot be retried any more; and delete links of chains
-- of which nothing is left.
-- after: the last job that was read before, null: none; most: number of links; days: for which jobs that end are kept.
-- Returns the last job that was read; null: there are no more.
-- Locks: as asyncjobs.follow.
create or replace function asyncjobs.tidy_links(after uuid, most integer, days integer) returns uuid
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  one record;
  last uuid;
  is_live boolean;
  is_ended boolean;
begin
  for one in
    select link.job, link.after, link.begun, link.anyhow from asyncjobs.link
    where tidy_links.after is null or link.job > tidy_links.after
    order by link.job limit tidy_links.most
  loop
    last := one.job;
    -- In one statement: between two, a retry could move it from where the second looks to where the first has looked.
    select exists (select from asyncjobs.job where job.id = one.job), exists (select from asyncjobs.finished where finished.id = one.job)
    into is_live, is_ended;
    if not is_live and not is_ended then
      delete from asyncjobs.link where link.job = one.job;
    elsif is_live and not one.begun and not exists (select from asyncjobs.job where job.id = one.after)
          and not exists (select from asyncjobs.finished where finished.id = one.after) then
      if one.anyhow then
        perform asyncjobs.follow(one.after, 5, null, null, tidy_links.days);
      else
        perform asyncjobs.make_room(tidy_links.days);
        perform asyncjobs.end_rest(
          one.after, 6, tidy_links.days,
          'the job before it, ' || one.after || ', had failed, and was dropped from the history when its retention was over');
      end if;
    end if;
  end loop;
  return last;
end
$$;
