-- The applied migrations, and when each was.
-- Rows: one a migration, and number 0 for the functions.
select number, name, release, applied_at from asyncjobs.migration order by number
