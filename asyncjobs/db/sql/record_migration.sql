-- Record that a migration was applied.
-- In braces: number, name and checksum.
insert into asyncjobs.migration (number, name, checksum) values ({number}, '{name}', '{checksum}')
