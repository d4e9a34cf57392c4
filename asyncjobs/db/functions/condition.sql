-- The condition of asyncjobs.find and asyncjobs.count, as text, of what was asked for alone: so PostgreSQL plans each search by
-- itself, with the indexes for it.
-- wanted: a JSON object, all of whose parts may be missing: states (numbers), kinds, queue, before (an id), labels (all of them),
-- searchable (an array of arrays: one of each), arguments (arrays by name: one of each; compared with what is stored: that reads every job which the
-- rest leaves), error (text anywhere in the errors, escaped as in JSON), older_than (seconds since the end, or the enqueueing).
create or replace function asyncjobs.condition(wanted json) returns text
language sql stable
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select concat_ws(' and ', 'true',
    case when w.states is not null then format('state = any(%L::smallint[])', w.states) end,
    case when 4 <= all(w.states) then 'finished_at is not null' end,      -- known not to be so of live ones without a look
    case when 4 < all(w.states) then 'state > 4' end,                     -- finished_unsucceeded
    case when w.kinds is not null then format('kind = any(%L::text[])', w.kinds) end,
    case when w.queue is not null then format('queue = %L', w.queue) end,
    case when w.before is not null then format('id < %L::uuid', w.before) end,
    case when w.older_than is not null
         then format('coalesce(finished_at, enqueued_at) <= clock_timestamp() - make_interval(secs => %L::float8)', w.older_than) end,
    case when w.labels is not null then format('labels @> %L::text[]', w.labels) end,
    (select string_agg(format('searchable && %L::text[]', array(select json_array_elements_text(s.one))), ' and ')
     from json_array_elements(w.searchable) as s(one)),
    case when w.error is not null then format('strpos(errors, %L) > 0', w.error) end,
    (select string_agg(format('strpos(args, %L) > 0 and asyncjobs.argument(args, %L) = any(%L::jsonb[])',
                              to_json(a.key)::text, a.key, array(select value::jsonb from json_array_elements(a.value))), ' and ')
     from json_each(w.arguments) as a(key, value)))
  from json_to_record(condition.wanted)
    as w(states smallint[], kinds text[], queue text, before uuid, labels text[], searchable json, arguments json, error text,
         older_than double precision)
$$;
