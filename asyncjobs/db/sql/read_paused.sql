-- The paused queues and kinds, as a worker needs them.
-- Rows: one; names of queues, names of kinds, and the seconds until the first pause ends by itself (null: none does; 0: one has
-- ended and is not deleted yet).
select coalesce(array_agg(name) filter (where scope = 'queue' and left_over is distinct from 0), '{}') as queues,
       coalesce(array_agg(name) filter (where scope = 'kind' and left_over is distinct from 0), '{}') as kinds,
       min(left_over) as ends_in
from (select scope, name, case when until < 'infinity' then extract(epoch from greatest(until, now) - now)::float8 end as left_over
      from (select clock_timestamp() as now) as clock cross join asyncjobs.pause) as known
