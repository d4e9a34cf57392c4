-- Write the numbers of limits and rates, by the code and the configuration of a worker.
-- $1 names  $2 most running at once, or null  $3 seconds between two starts, or null  $4 starts that may follow each other, or null
-- $5 names of the configuration, null: there is none  $6 most running at once of each  $7 the prefix of its kinds
-- $8 when the worker began
-- Rows: limits that have changed, or differ from the worker's. Locks: see asyncjobs.say_limits.
select name, was, was_by, most, said_by, here, here_by, is_older
from asyncjobs.say_limits($1::text[], $2::integer[], $3::float8[], $4::integer[], $5::text[], $6::integer[], $7::text, $8::timestamptz)
