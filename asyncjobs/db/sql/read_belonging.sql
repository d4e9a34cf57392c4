-- What one job is a part of.
-- $1 id
-- Rows: none or one. Index: job_pkey, finished_by_id of each partition.
select batch, asyncjobs.shown(tick) as tick, unique_key, limit_keys from asyncjobs.job where id = $1::uuid
union all
select batch, asyncjobs.shown(tick), unique_key, limit_keys from asyncjobs.finished where id = $1::uuid
limit 1
