-- Let jobs pass the limits at which they wait.
-- $1 number of keys to look at, at most
-- Rows: one; how many passed, whether there is more to do at once, and the seconds until a start of a rate is due (null: none),
-- and whether there are rates at all.
-- Locks: see asyncjobs.admit.
select passed, again, next_look, exists (select from asyncjobs.limits where spacing is not null) as has_rates
from asyncjobs.admit($1::integer)
