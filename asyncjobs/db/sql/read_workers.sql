-- The workers whose end nobody has declared.
-- Rows: one a worker, the longest at work first; `beat` is its age in seconds, `late` says that its lease is over.
select id, about, report, extract(epoch from clock_timestamp() - started_at)::float8 as age,
       extract(epoch from clock_timestamp() - beat_at)::float8 as beat,
       beat_at < clock_timestamp() - lease as late,
       (select count(*) from asyncjobs.job where job.state = 2 and job.worker = worker.id) as running
from asyncjobs.worker
where dead_at is null
order by started_at
limit 200
