-- Write the numbers of limits and rates, by the code and the configuration of a worker. If two workers differ, the one that began
-- later counts; numbers that were set by hand count before both.
-- names, mosts, spacings, bursts: of the limits of the kinds that it knows: most running at once, seconds between two starts, starts
-- that may follow each other, each or null.
-- keys, numbers: of its configuration: most running at once by a kind, a shared key (all limits of that), or a limit; the longest
-- that fits counts, and a rate alone is none of them. keys null: it has no configuration, and leaves the numbers of others'.
-- scope: the kind_prefix of its application: numbers of an earlier configuration with it end if this one does not have them.
-- began: when the worker did, by the clock of the database.
-- Rows: the limits that have changed, or differ from the worker's: the number before and the number now, each with its source (code,
-- config, hand; null: none yet), and whether the worker's number is the older one.
-- Jobs that wait at them are looked at again.
-- Locks: the limits, in the order of their names; waits for a transaction that is inserting one.
create or replace function asyncjobs.say_limits(
  names text[], mosts integer[], spacings double precision[], bursts integer[], keys text[], numbers integer[], scope text,
  began timestamptz
) returns table (name text, was integer, was_by text, most integer, said_by text, here integer, here_by text, is_older boolean)
language plpgsql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
#variable_conflict use_column
declare
  one record;
  is_changed boolean;
  any_changed boolean := false;
begin
  insert into asyncjobs.limits (name, most, spacing, burst)
  select g.name, g.most, g.spacing, g.burst
  from unnest(say_limits.names, say_limits.mosts, say_limits.spacings, say_limits.bursts) as g(name, most, spacing, burst)
  where not exists (select from asyncjobs.limits where limits.name = g.name)
  order by g.name
  on conflict do nothing;
  for one in
    select known.*, code.name is not null as is_in_code,
           case when code.name is not null then code.most else known.most end as code_most,
           case when code.name is not null then code.spacing else known.spacing end as code_spacing,
           case when code.name is not null then code.burst else known.burst end as code_burst,
           case when say_limits.keys is null then known.most_by_config
                when case when code.name is not null then code.most else known.most end is not null then said.number end as config_most,
           case when say_limits.keys is null then known.config_of else say_limits.scope end as new_config_of
    from asyncjobs.limits as known
    left join unnest(say_limits.names, say_limits.mosts, say_limits.spacings, say_limits.bursts)
      as code(name, most, spacing, burst) on code.name = known.name
    left join lateral (
      select c.number from unnest(say_limits.keys, say_limits.numbers) as c(key, number)
      where known.name = c.key or starts_with(known.name, c.key || '(') order by length(c.key) desc limit 1
    ) as said on true
    where code.name is not null or said.number is not null or (known.config_of = say_limits.scope and say_limits.keys is not null)
    order by known.name for no key update of known
  loop
    is_older := say_limits.began < one.said_at;
    is_changed := (one.code_most, one.code_spacing, one.code_burst, one.config_most)
                  is distinct from (one.most, one.spacing, one.burst, one.most_by_config);
    if not is_older then
      update asyncjobs.limits
      set most = one.code_most, spacing = one.code_spacing, burst = one.code_burst, most_by_config = one.config_most,
          config_of = case when one.config_most is not null then one.new_config_of end, said_at = say_limits.began
      where limits.name = one.name;
      any_changed := any_changed or is_changed;
    end if;
    if is_changed then
      name := one.name;
      was := coalesce(one.most_by_hand, one.most_by_config, one.most);
      was_by := case when one.most_by_hand is not null then 'hand' when one.most_by_config is not null then 'config'
                     when one.said_at > '-infinity' then 'code' end;
      here := coalesce(one.config_most, one.code_most);
      here_by := case when one.config_most is not null then 'config' else 'code' end;
      most := case when is_older then was else coalesce(one.most_by_hand, here) end;
      said_by := case when is_older then was_by when one.most_by_hand is not null then 'hand' else here_by end;
      return next;
    end if;
  end loop;
  if any_changed then
    perform asyncjobs.note_all_limits();
  end if;
end
$$;
