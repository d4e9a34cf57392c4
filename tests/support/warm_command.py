"""What commands need not find out again: arrays, and the tree of them all, for which typer takes 50 ms of a core to read."""

import functools
from typing import Any

import typer.main

from asyncjobs.cli.application import app

get_command = typer.main.get_command = functools.cache(typer.main.get_command)


def _read(command: Any) -> None:
    for parameter in command.params:
        parameter.get_runtime_param()
    for each in getattr(command, "commands", {}).values():
        _read(each)


_read(get_command(app))
