-- Jobs that do not wait for a place under a limit: they have theirs again, or are not running any more.
-- $1 ids  $2 fences
-- Rows: the ids, in no order. No locks.
select given.id
from unnest($1::uuid[], $2::bigint[]) as given(id, fence)
where not exists (select from asyncjobs.job
                  where job.id = given.id and job.fence = given.fence and job.limit_key is not null
                    and job.admitted is distinct from job.seq offset 0)
