"""What every program reads that opens a client: a hundred files of SQL, which take 20 ms of a core."""

from asyncjobs.db import migration_files, sql

migration_files.known()
migration_files.functions()
migration_files.function_names()
sql.name_of("")
