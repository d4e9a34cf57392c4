"""Texts of other code, such as exceptions and names, made safe for logs and terminals."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping

from asyncjobs.checks.texts import cut, written_out

MOST_SHOWN = 500
"""Characters of an exception's text in a log line or a reason."""
MOST_PARTS = 1_000
_MARKS = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Characters that break a line or change its direction, or that no stream can encode."""
_CONTROL = re.compile(f"[\x00-\x1f\x7f-\x9f{_MARKS}]")
_RAW_IN_JSON = re.compile(f"[\x7f-\x9f{_MARKS}]")


def message_of(error: BaseException) -> str:
    """Return an exception's text, a group's with that of its first leaf; if its class raises, a text that says so."""
    try:
        return f"{error}: {_first_leaf(error)}" if isinstance(error, BaseExceptionGroup) else str(error)
    except BaseException as broken:  # even SystemExit: raised by a `__str__`, it would end the worker
        return f"<its message cannot be read: {type(broken).__name__}>"


def _first_leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def is_vast(error: BaseException) -> bool:
    """Whether an error has more than `MOST_PARTS` causes and parts; Python makes a text for every path to each of them.

    Groups that share their parts, 22 deep, took 43 s and 2.8 GB.
    """
    left, count, followed = [error], 0, {id(error)}
    while left:
        one = left.pop()
        count += 1
        if count > MOST_PARTS:
            return True
        before = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if before is not None and id(before) not in followed:  # Python does the same, for causes and not for groups
            followed.add(id(before))
            left.append(before)
        left += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return False


def harmless(text: str) -> str:
    """Return `text` with control characters spelled out: a job's name or error must not control a terminal."""
    return _CONTROL.sub(_spelled, text)


def harmless_lines(text: str) -> str:
    """Return `text` with each line made safe, and all but the first indented, so that none passes for a log line."""
    return "\n  ".join(map(harmless, text.split("\n")))


def harmless_json(text: str) -> str:
    """Return the same JSON with characters escaped that JSON may hold as they are, and a terminal would obey."""
    return _RAW_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def brief(text: str) -> str:
    """Return the first `MOST_SHOWN` characters of `text` in a form that any log can write."""
    return written_out(cut(text, MOST_SHOWN))


def shown(error: BaseException) -> str:
    """Return an exception's class and the beginning of its text."""
    return f"{type(error).__name__}: {brief(message_of(error))}"


def log(
    logger: logging.Logger,
    level: int,
    text: str,
    *arguments: object,
    error: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Log a line, with the traceback of `error`; an error of a handler (a full disk, a handler of the user's) is ignored."""
    logger.disabled = False  # code that a job imported may have disabled it: see `logs.speak_up`
    with contextlib.suppress(Exception):
        if error is not None and is_vast(error):
            error = None
        logger.log(level, text, *arguments, exc_info=error, stacklevel=2, extra=extra)
