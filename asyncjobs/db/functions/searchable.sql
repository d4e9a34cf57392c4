-- The searchable arguments of a job, each as name=JSON; one of more than 256 characters is cut, and ends in its SHA-256, as in
-- asyncjobs.definitions.labels. Null: there are none.
-- args: a JSON object; names: of those that are to be found; missing ones are left out.
create or replace function asyncjobs.searchable(args json, names text[]) returns text[]
language sql immutable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select array_agg(case when length(each.text) <= 256 then each.text
                        else left(each.text, 191) || ' ' || encode(sha256(convert_to(each.text, 'UTF8')), 'hex') end
                   order by each.name)
  from (
    select n.name, n.name || '=' || case json_typeof(searchable.args -> n.name)
                                      when 'string' then to_json(searchable.args ->> n.name)::text
                                      else (searchable.args -> n.name)::text end as text
    from unnest(searchable.names) as n(name)
    where json_typeof(searchable.args -> n.name) is not null
    group by n.name
  ) as each
$$;
