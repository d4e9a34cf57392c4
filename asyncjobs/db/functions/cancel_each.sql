-- Cancel jobs, and count the jobs cancelled along with each, as asyncjobs.goes_along has them.
-- Rows: one an id, in their order: the result of asyncjobs.cancel, also 'cancelled' for one that was cancelled along with an earlier
-- one; and the number of other jobs cancelled along, without those that follow when a worker ends a running one.
-- Security definer: an enqueuer has no right on the tables, and learns of no job whose id it does not give.
-- Locks: as asyncjobs.cancel, one after the other.
create or replace function asyncjobs.cancel_each(ids uuid[], reason text default '', days integer default 7)
returns table (id uuid, came_to text, along integer)
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  one record;
  before uuid[];
  taken uuid[];
  ended uuid[] := '{}';
begin
  for one in select g.id from unnest(cancel_each.ids) with ordinality as g(id, n) order by g.n loop
    id := one.id;
    along := 0;
    if one.id = any(ended) then
      came_to := 'cancelled';
      return next;
      continue;
    end if;
    before := array(select asyncjobs.goes_along(one.id));
    came_to := asyncjobs.cancel(one.id, cancel_each.reason, cancel_each.days);
    if before <> '{}' then
      taken := array(select finished.id from asyncjobs.finished
                     where finished.id = any(before) and finished.state = 7
                       and not exists (select from asyncjobs.job where job.id = finished.id offset 0));
      ended := ended || taken;
      taken := taken || array(select job.id from asyncjobs.job
                              where job.id = any(before) and job.state + 0 = 2 and job.cancel_reason is not null);
      along := (select count(*) from unnest(taken) as t(id) where t.id <> all(cancel_each.ids));
    end if;
    return next;
  end loop;
end
$$;
