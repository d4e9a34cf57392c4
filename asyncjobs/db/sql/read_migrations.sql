-- The applied migrations.
-- Rows: one a migration, and number 0 for the functions. As JSON: the table that lists them may be one without a release.
select number, name, checksum, coalesce(to_json(migration)->>'release', '') as release from asyncjobs.migration order by number
