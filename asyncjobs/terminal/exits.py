"""Exit codes, and errors as lines on standard error."""

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
    """Return the exit code for an error of asyncjobs."""
    if isinstance(error, _USAGE_ERRORS):
        return USAGE
    if isinstance(error, DatabaseError):
        return USAGE if error.misconfigured else UNHEALTHY
    return FAILED


def complain(*lines: str) -> None:
    """Print each line on standard error, after the program's name, with control characters spelled out."""
    for line in lines:
        print("asyncjobs:", "\n".join(map(harmless, line.splitlines())), file=sys.stderr)


def fail(code: int, *lines: str) -> NoReturn:
    """Print lines on standard error and end with `code`."""
    complain(*lines)
    raise typer.Exit(code)


def describe(error: BaseException) -> list[str]:
    """Return the text of an error of asyncjobs, one line a problem; with ``--log-level debug`` its traceback."""
    # The variable counts too: commands that only print set up no logging.
    if logging.getLogger().isEnabledFor(logging.DEBUG) or os.environ.get("ASYNCJOBS_LOG_LEVEL", "").lower() == "debug":
        return ["".join(traceback.format_exception(error)).rstrip()]
    if isinstance(error, InvalidSettings):
        return error.problems
    return [str(error) or type(error).__name__]


@contextmanager
def exit_codes() -> Iterator[None]:
    """End with the right exit code, and without a traceback, when an error of asyncjobs leaves the block."""
    try:
        yield
    except AsyncJobsError as error:
        fail(code_of(error), *describe(error))
