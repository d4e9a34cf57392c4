-- The workers of one host whose lease is not over, and else the one that was heard last.
-- $1 host
-- Rows: the living ones, those heard last first; if there are none, the last one, dead. `beat`: seconds since its last beat;
-- `ends_in`: seconds until its lease is over, negative when it is. Index: none; dead workers are forgotten after a day.
with found as (
  select id, about, report, dead_at is not null as dead,
         extract(epoch from clock_timestamp() - asyncjobs.shown(beat_at))::float8 as beat,
         extract(epoch from asyncjobs.shown(beat_at) + least(greatest(lease, '0'), '1 year') - clock_timestamp())::float8 as ends_in
  from asyncjobs.worker
  where host = $1::text
)
select id, about, report, dead, beat, ends_in
from found
where (not dead and ends_in > 0) or not exists (select from found where not dead and ends_in > 0)
order by beat
limit case when exists (select from found where not dead and ends_in > 0) then 100 else 1 end
