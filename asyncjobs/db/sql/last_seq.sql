-- The newest number of the ready sequence, and what is paused: what is ready and was committed by now lies at or below it.
-- Rows: one; the number, and then as read_paused.sql.
select (select last_value from asyncjobs.ready_seq) as seq,
       coalesce(array_agg(name) filter (where scope = 'queue' and left_over is distinct from 0), '{}') as queues,
       coalesce(array_agg(name) filter (where scope = 'kind' and left_over is distinct from 0), '{}') as kinds,
       min(left_over) as ends_in
from (select scope, name, case when until < 'infinity' then extract(epoch from greatest(until, now) - now)::float8 end as left_over
      from (select clock_timestamp() as now) as clock cross join asyncjobs.pause) as known
