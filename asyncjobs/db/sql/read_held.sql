-- What runs under a worker's lease: it asks for itself, after a claim whose answer was lost.
-- $1 worker
-- Rows: one a running job of it; id, fence. Index: job_for_rescue.
select id, fence from asyncjobs.job where worker = $1::uuid and state = 2
