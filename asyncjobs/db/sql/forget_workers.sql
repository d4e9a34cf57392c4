-- Remove the rows of workers that died over a day ago and hold no job.
-- Rows: the ids removed.
delete from asyncjobs.worker
where dead_at < clock_timestamp() - interval '1 day'
  and not exists (select from asyncjobs.job where job.worker = worker.id and job.state = 2)
returning id
