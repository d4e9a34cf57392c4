"""Exit codes, and errors as one line on standard error."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from asyncjobs.checks.foreign_texts import harmless
from asyncjobs.exceptions import (
    AsyncJobsError,
    DatabaseError,
    InvalidArguments,
    InvalidDefinition,
    InvalidOption,
    InvalidSettings,
)

OK, FAILED, USAGE, UNHEALTHY = 0, 1, 2, 3

_USAGE_ERRORS = (InvalidSettings, InvalidDefinition, InvalidArguments, InvalidOption)


def code_of(error: BaseException) -> int:
    """Return the exit code that stands for an error of ours."""
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    if isinstance(error, DatabaseError):
        return USAGE if error.misconfigured else UNHEALTHY
    return FAILED


def complain(*lines: str) -> None:
    """Print each line on standard error, after the program's name; none of them can steer the terminal."""
    for line in lines:
        print("asyncjobs:", "\n".join(map(harmless, line.splitlines())), file=sys.stderr)


def fail(code: int, *lines: str) -> NoReturn:
    """Print what is wrong and end with `code`."""
    complain(*lines)
    raise typer.Exit(code)


def describe(error: BaseException) -> list[str]:
    """Return what an error of ours says, one line a problem; a traceback is for ``--log-level debug``."""
    # The variable: commands that only print set up no logging.
    if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("ASYNCJOBS_LOG_LEVEL", "").lower() == "debug":
        return ["".join(traceback.format_exception(error)).rstrip()]
    if isinstance(error, InvalidSettings):
        return error.problems
    return [str(error) or type(error).__name__]


@contextmanager
def exit_codes() -> Iterator[None]:
    """End with the right exit code, and without a traceback, when an error of ours leaves the block."""
    try:
        yield
    except AsyncJobsError as error:
        fail(code_of(error), *describe(error))
