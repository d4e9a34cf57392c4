-- Record that a migration was applied; and that the functions are to be written anew, since it may have dropped some.
-- In braces: number, name and checksum.
insert into asyncjobs.migration (number, name, checksum) values ({number}, '{name}', '{checksum}');
update asyncjobs.migration set checksum = '' where number = 0
