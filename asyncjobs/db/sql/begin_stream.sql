-- Find where the stream of a running job goes on. $1 id  $2 fence
-- Rows: one; the number of its last item, 0 when it has none; null when the lease is lost.
-- A stale attempt writes nothing more: its statement had the job's row locked, and was over before the job was given back.
with held as materialized (
  select id from asyncjobs.job where id = $1::uuid and fence = $2::bigint
), noted as (
  insert into asyncjobs.live_job (job) select id from held on conflict (job) do nothing
)
select (select coalesce((select max(n) from asyncjobs.stream_item where job = $1::uuid), 0) from held) as last
