-- Limits and rates with their numbers and sources; and keys with a number that was set by hand.
-- Rows: a limit, or one key of a limit; most running at once by the code, by a configuration, by hand, each or null; seconds between
-- two starts, and starts that may follow each other, null: no rate; whether a worker has written it.
select name, most as code, most_by_config as config, most_by_hand as by_hand, spacing, burst, said_at > '-infinity' as is_said
from asyncjobs.limits
union all
select limit_key.key, limits.most, limits.most_by_config, limit_key.most, limits.spacing, limits.burst, limits.said_at > '-infinity'
from asyncjobs.limit_key join asyncjobs.limits on limits.name = limit_key.name
where limit_key.most is not null
order by name
