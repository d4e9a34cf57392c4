-- The workers that are not declared dead, with the numbers of jobs under their leases.
-- Rows: one a worker, the oldest first; `silent`: seconds since its last beat; `missed`: it has missed some; `late`: its lease is
-- over; `held`: JSON with the number of its running jobs by queue, or null.
-- Index: job_for_rescue, one range a worker.
select id, host, about, report,
       extract(epoch from clock_timestamp() - asyncjobs.shown(beat_at))::float8 as silent,
       beat_at < clock_timestamp() - least(greatest(lease, '0'), '1 year') / 6 as missed,
       beat_at < clock_timestamp() - least(greatest(lease, '0'), '1 year') as late,
       (select json_object_agg(queue, jobs)::text
        from (select queue, count(*) as jobs from asyncjobs.job
              where job.state = 2 and job.worker = worker.id group by queue) as running) as held
from asyncjobs.worker
where dead_at is null
order by started_at
limit 200
