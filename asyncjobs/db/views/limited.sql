-- Jobs under a limit that are ready or running, by their place there: 0 it holds one, 1 it runs, has given its place back, and wants
-- it again; 2 it waits; 3 it runs and has given its place back. `at` is its ctid.
-- `where limit_key = … and place = … order by priority, seq` is one descent of job_for_limits.
create or replace view asyncjobs.limited as
select ctid as at, id, limit_key,
       case when admitted = seq then 0 when state = 1 then 2 when admitted is null then 1 else 3 end as place,
       priority, seq, state, queue, kind, limit_keys, run_at
from asyncjobs.job
where limit_key is not null and state in (1, 2);
