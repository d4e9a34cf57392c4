"""What is done beside a job's outcome and must never change it: reading anybody's exception, and writing a log line."""

from __future__ import annotations

import contextlib
import logging

MOST_SHOWN = 500
"""Characters of an exception's text in a log line or a reason."""


def message_of(error: BaseException) -> str:
    """Return an exception's own text; if its class makes none, what went wrong with that."""
    try:
        return str(error)
    except BaseException as broken:  # SystemExit, too: raised by a `__str__`, it would end the worker
        return f"<its message cannot be read: {type(broken).__name__}>"


def shown(error: BaseException) -> str:
    """Return an exception's class and text in at most `MOST_SHOWN` characters and a bit."""
    text = message_of(error)
    if len(text) > MOST_SHOWN:
        text = text[:MOST_SHOWN] + "…"
    return f"{type(error).__name__}: {text}"


def log(logger: logging.Logger, level: int, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log a line, with the traceback of `error`; a handler that raises (a full disk, somebody's own) harms nobody."""
    with contextlib.suppress(Exception):
        logger.log(level, text, *arguments, exc_info=error)
