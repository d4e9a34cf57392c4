-- Live jobs among some.
-- $1 ids
-- Rows: the ids of the live ones. Index: job_pkey.
select found.id from unnest($1::uuid[]) as given(id)
cross join lateral (select job.id from asyncjobs.job where job.id = given.id offset 0) as found
