-- Record steps of running jobs, at most one a job, and the jobs' attributes.
-- $1 ids of jobs, ascending  $2 fences  $3 number, $4 name (null: attributes only) and $5 state of each step  $6 results
-- $7 cursors  $8 errors (JSON text)  $9 seconds since it began  $10 attributes (JSON text; null: as they are)
-- $11 the jobs that it runs (JSON text; null: it runs code)
-- Rows: the ids of those whose fence is still the job's; the others' leases are lost, and nothing is recorded of them.
-- Locks: the job rows, in the order of their ids; so a step is recorded before the job is given back, or not at all.
-- `>=` and `<=` for `=`: see finish.sql. Written again after a lost answer, a record stays the same.
with given as materialized (
  select * from unnest($1::uuid[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                       $9::float8[], $10::text[], $11::text[])
       as g(id, fence, n, name, state, result, cursor, error, age, progress, children)
), held as (
  update asyncjobs.job set progress = coalesce(given.progress, job.progress)
  from given
  where job.id >= given.id and job.id <= given.id and job.fence = given.fence
  returning job.id, job.attempt, given.n, given.name, given.state, given.result, given.cursor, given.error, given.age,
            given.children
), recorded as (
  insert into asyncjobs.step as step (job, n, name, state, attempt, started_at, finished_at, result, cursor, error,
                                      children)
  select id, n, name, state, attempt, clock_timestamp() - make_interval(secs => age),
         case when state not in ('started', 'running') then clock_timestamp() end, result, cursor, error, children
  from held where name is not null
  on conflict (job, name) do update
  set state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at, result = excluded.result,
      cursor = excluded.cursor, error = excluded.error, children = excluded.children
)
select id from held
