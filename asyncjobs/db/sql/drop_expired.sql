-- Drop the partitions of finished whose day is over.
-- Rows: one; how many were dropped.
select asyncjobs.drop_expired() as dropped
