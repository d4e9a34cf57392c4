-- Record that the functions were written, as migration 0.
-- In braces: checksum and version.
insert into asyncjobs.migration (number, name, checksum, release) values (0, 'functions', '{checksum}', '{version}')
on conflict (number) do update
set checksum = excluded.checksum, release = excluded.release, applied_at = excluded.applied_at
