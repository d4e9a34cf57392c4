-- The pauses, by name.
-- Rows: scope (queue or kind), name, since, until (null: until it is resumed), reason, paused_by.
select scope, name, coalesce(asyncjobs.shown(since), to_timestamp(0)) as since, asyncjobs.shown(until) as until, reason, paused_by
from asyncjobs.pause
where until is null or until > clock_timestamp()
order by scope desc, name
