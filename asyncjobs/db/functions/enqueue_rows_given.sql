-- The part of asyncjobs.enqueue_given that enqueues.
create or replace function asyncjobs.enqueue_rows_given(given text) returns text
language sql volatile
set search_path = pg_catalog, asyncjobs, pg_temp
as $$
  select coalesce(json_agg(json_build_array(made.id, made.disposition) order by made.n)::text, '[]')
  from (
    select array_agg(row.id order by one.n) as ids, array_agg(row.kind order by one.n) as kinds,
           array_agg(row.queue order by one.n) as queues, array_agg(row.priority order by one.n) as priorities,
           array_agg(row.args order by one.n) as args, array_agg(row.run_at order by one.n) as run_ats,
           array_agg(row.delay order by one.n) as delays, array_agg(row.expires_in order by one.n) as expires_ins,
           array_agg(coalesce(row."order", '{}') order by one.n) as orders
    from json_array_elements(enqueue_rows_given.given::json) with ordinality as one(value, n)
    cross join lateral json_to_record(one.value) as row(
      id uuid, kind text, queue text, priority integer, args text, run_at timestamptz, delay double precision,
      expires_in double precision, "order" text)
  ) as all_rows
  cross join lateral asyncjobs.enqueue_ordered(all_rows.ids, all_rows.kinds, all_rows.queues, all_rows.priorities, all_rows.args,
                                               all_rows.run_ats, all_rows.delays, all_rows.expires_ins, all_rows.orders) as made
$$;
