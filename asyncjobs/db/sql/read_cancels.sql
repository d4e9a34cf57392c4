-- The running jobs of a worker that were asked to be cancelled.
-- $1 worker
-- Rows: their ids. Index: job_for_cancel.
select id from asyncjobs.job where worker = $1::uuid and state = 2 and cancel_reason is not null
