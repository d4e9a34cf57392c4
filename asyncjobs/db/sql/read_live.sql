-- Live jobs among some.
-- $1 ids
-- Rows: the ids of the live ones. Index: job_pkey.
select job.id from unnest($1::uuid[]) as given(id) join asyncjobs.job on job.id = given.id
