-- Make the partitions of finished that will be needed.
-- $1 days ahead of today
-- Rows: one; how many were made.
select asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + $1::integer) as made
