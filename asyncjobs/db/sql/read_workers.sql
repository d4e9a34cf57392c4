-- The workers that are not declared dead.
-- Rows: one a worker, the oldest first; `beat`: seconds since its last beat; `late`: its lease is over.
-- A time written by hand that is out of range counts as the nearest one within it.
select id, about, report,
       extract(epoch from clock_timestamp() - asyncjobs.shown(started_at))::float8 as age,
       extract(epoch from clock_timestamp() - asyncjobs.shown(beat_at))::float8 as beat,
       beat_at < clock_timestamp() - least(greatest(lease, '0'), '1 year') as late,
       (select count(*) from asyncjobs.job where job.state = 2 and job.worker = worker.id) as running,
       quiet
from asyncjobs.worker
where dead_at is null
order by started_at
limit 200
