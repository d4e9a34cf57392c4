-- Write what running jobs wait for in memory.
-- $1 ids of those that wait, ascending  $2 fences  $3 the number of each one's place there, from 1, once for each job that it awaits
-- $4 the jobs awaited  $5 whether with a timeout
-- Rows: none. A job whose fence is another by now is passed over; one that awaits nothing waits no more.
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
