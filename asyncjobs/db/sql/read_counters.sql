-- How often jobs have become ready and were claimed, since the schema was made: of two reads the differences are rates.
-- Rows: one; `at`: the time of the read, in seconds since 1970.
select (select last_value from asyncjobs.ready_seq) as readied, (select last_value from asyncjobs.fence_seq) as claimed,
       extract(epoch from clock_timestamp())::float8 as at
