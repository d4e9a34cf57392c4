-- The last number of the ready sequence, which no ready and committed job exceeds; and the paused queues and kinds.
-- Rows: one; the number, and the columns of read_paused.sql.
select (select last_value from asyncjobs.ready_seq) as seq,
       coalesce(array_agg(name) filter (where scope = 'queue' and left_over is distinct from 0), '{}') as queues,
       coalesce(array_agg(name) filter (where scope = 'kind' and left_over is distinct from 0), '{}') as kinds,
       min(left_over) as ends_in
from (select scope, name, case when until < 'infinity' then extract(epoch from greatest(until, now) - now)::float8 end as left_over
      from (select clock_timestamp() as now) as clock cross join asyncjobs.pause) as known
