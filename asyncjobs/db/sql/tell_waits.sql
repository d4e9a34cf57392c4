-- Write which jobs the code of running jobs awaits.
-- $1 ids of waiting jobs, ascending  $2 fences  $3 for each awaited job the place of its waiting job in $1, from 1
-- $4 the awaited jobs  $5 whether with a timeout
-- Rows: none. A waiting job whose fence is another by now is passed over; one without awaited jobs waits no more.
-- Locks: the rows, in the order of their ids, as short as await_jobs.sql. `>=` and `<=` for `=`: see finish.sql.
with quick as materialized (select set_config('synchronous_commit', 'off', true)),
given as materialized (
  select waiter.id, waiter.fence, awaited.endless, awaited.timed
  from quick, unnest($1::uuid[], $2::bigint[]) with ordinality as waiter(id, fence, n)
  left join (
    select n, array_agg(id) filter (where not timed) as endless, array_agg(id) filter (where timed) as timed
    from unnest($3::integer[], $4::uuid[], $5::boolean[]) as g(n, id, timed) group by n
  ) as awaited on awaited.n = waiter.n
  order by waiter.id
)
update asyncjobs.job
set waits_fence = given.fence, waits_for = given.endless, waits_timed = given.timed
from given
where job.id >= given.id and job.id <= given.id and job.fence = given.fence
