-- Those of some jobs that have arguments.
-- $1 ids  $2 the arguments by name (JSON), of each an array of values of which a job has one
-- Rows: their ids. Index: see asyncjobs.job_status.
select found.id
from unnest($1::uuid[]) as given(id)
cross join lateral (select id, args from asyncjobs.job_status where job_status.id = given.id limit 1) as found
where not exists (
  select from json_each($2::text::json) as wanted(name, one_of)
  where coalesce(asyncjobs.argument(found.args, wanted.name)
                 <> all(array(select value::jsonb from json_array_elements(wanted.one_of))), true))
