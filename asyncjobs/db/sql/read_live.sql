-- Which of these jobs are live.
-- $1 ids
-- Rows: the ids that are. Index: job_pkey.
select job.id from unnest($1::uuid[]) as given(id) join asyncjobs.job on job.id = given.id
