"""What commands need not find out again: the tree of them all, which typer reads for 50 ms of a core, and our files of SQL."""

import functools
from typing import Any

import typer.main

from asyncjobs.cli.application import app
from asyncjobs.db import migration_files, sql

get_command = typer.main.get_command = functools.cache(typer.main.get_command)


def _read(command: Any) -> None:
    for parameter in command.params:
        parameter.get_runtime_param()
    for each in getattr(command, "commands", {}).values():
        _read(each)


_read(get_command(app))
migration_files.known()
migration_files.functions()
sql.name_of("")  # reads all
