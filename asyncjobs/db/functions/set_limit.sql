-- Set by hand how many jobs run at once under a limit, for all workers:  select asyncjobs.set_limit('stripe', 5)
-- key: a kind or a shared key: all limits of that; or one of these with what tells its keys apart, app.jobs.sync(account_id); or
-- one of their keys: app.jobs.sync(account_id) 7. most: 0: nothing starts; null: as the configuration or the code has it.
-- Returns how many limits and keys were changed.
-- Locks: these, in the order of their names.
create or replace function asyncjobs.set_limit(key text, most integer) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  wanted text := replace(set_limit.key, ' ', U&'\00A0');
  changed integer;
begin
  if set_limit.most not between 0 and 1000000 then
    raise exception 'a limit must be a whole number from 0 to 1000000, not %', set_limit.most using errcode = '22023';
  end if;
  perform from asyncjobs.limits
  where (name = wanted or starts_with(name, wanted || '(')) and most is not null order by name for no key update;
  update asyncjobs.limits set most_by_hand = set_limit.most
  where (name = wanted or starts_with(name, wanted || '(')) and most is not null;
  get diagnostics changed = row_count;
  if changed = 0 and exists (select from asyncjobs.limits where name = split_part(set_limit.key, ' ', 1) and most is not null) then
    insert into asyncjobs.limit_key (key, name, most)
    values (set_limit.key, split_part(set_limit.key, ' ', 1), set_limit.most)
    on conflict (key) do update set most = excluded.most;
    changed := 1;
  end if;
  -- By the jobs that wait: of a key that is looked at for the first time just now there is no row to be seen yet.
  perform asyncjobs.note_all_limits();
  return changed;
end
$$;
