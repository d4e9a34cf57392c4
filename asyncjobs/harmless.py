"""What is done beside a job's outcome and must never change it: reading anybody's exception, and writing a log line."""

from __future__ import annotations

import contextlib
import logging
import re

MOST_SHOWN = 500
"""Characters of an exception's text in a log line or a reason."""
_ODD = re.compile("[\x00\ud800-\udfff]")


def message_of(error: BaseException) -> str:
    """Return an exception's own text, for a group with that of its first leaf; if its class makes none, what went wrong."""
    try:
        return f"{error}: {_first_leaf(error)}" if isinstance(error, BaseExceptionGroup) else str(error)
    except BaseException as broken:  # SystemExit, too: raised by a `__str__`, it would end the worker
        return f"<its message cannot be read: {type(broken).__name__}>"


def _first_leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def written_out(text: str) -> str:
    """Return `text` with NUL, which PostgreSQL refuses, and lone surrogates, which no stream encodes, written out."""
    return _ODD.sub(lambda found: f"\\x{ord(found[0]):02x}" if found[0] == "\x00" else f"\\u{ord(found[0]):04x}", text)


def brief(text: str) -> str:
    """Return the first `MOST_SHOWN` characters of `text` as any log can take them."""
    return written_out(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…")


def shown(error: BaseException) -> str:
    """Return an exception's class and the beginning of its text."""
    return f"{type(error).__name__}: {brief(message_of(error))}"


def log(logger: logging.Logger, level: int, text: str, *arguments: object, error: BaseException | None = None) -> None:
    """Log a line, with the traceback of `error`; a handler that raises (a full disk, somebody's own) harms nobody."""
    logger.disabled = False  # a job may have imported what silences all there is: see `logs.speak_up`
    with contextlib.suppress(Exception):
        logger.log(level, text, *arguments, exc_info=error, stacklevel=2)
