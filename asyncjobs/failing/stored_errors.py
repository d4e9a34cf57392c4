"""Stored errors: an attempt's error as text, and back, one JSON object a line.

An exception may be any object: its message may hold NUL or lone surrogates, which PostgreSQL refuses, be megabytes long, or
raise when it is read. It must be storable in any case, or the job would be stuck.
"""

from __future__ import annotations

import os
import socket
import time
import traceback
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import CodeType, TracebackType

import anyio

from asyncjobs.checks.foreign_texts import MOST_PARTS, is_vast, message_of
from asyncjobs.checks.texts import written_out
from asyncjobs.records.status import AttemptError
from asyncjobs.values import codec

MOST_TEXT = 32_768
"""Characters of a message or traceback that are kept: half of them from the beginning, half from the end."""
MOST_FRAMES = 50
"""Frames of a traceback that are kept, the innermost."""
MOST_KNOWN = 1_000
"""Frames whose text is kept in memory."""
_frames: dict[tuple[int, int], tuple[CodeType, str]] = {}
_OF_SEVERAL_PARTS = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)
"""Errors with more text than frames and a message: groups, and errors for which Python suggests another name."""

_ROOMS = Path(__file__).parents[1]
_CALLING = (f"{_ROOMS}{os.sep}", f"{Path(anyio.__file__).parent}{os.sep}")
"""Folders of code that calls a job's: this package, and anyio's threads."""
_DEMO = f"{_ROOMS / 'demo'}{os.sep}"


def describe_error(error: BaseException, *, attempt: int, begun: float | None = None) -> str:
    """Return the error of an attempt as one line of JSON; `begun`: when it began here, by the monotonic clock."""
    kind, now = type(error), datetime.now(UTC)
    described: dict[str, object] = {
        "attempt": attempt,
        "at": now.isoformat(),
        "type": storable(f"{kind.__module__}.{kind.__qualname__}"),
        "message": storable(message_of(error)),
        "traceback": traceback_of(error),
    }
    if begun is not None:
        described["started_at"] = (now - timedelta(seconds=time.monotonic() - begun)).isoformat()
        described["worker"] = f"{_host()}, pid {os.getpid()}"
    return codec.dumps(described)


@cache
def _host() -> str:
    return socket.gethostname()


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback from the user's code on, bounded and storable."""
    return storable(_traceback(error))


def read_errors(text: str | None) -> list[AttemptError]:
    """Return stored errors, oldest first; a line that is no stored error becomes a message."""
    return [_read(line) for line in (text or "").split("\n") if line]


def last_error(text: str | None) -> AttemptError | None:
    """Return the last of stored errors; None: there are none."""
    lines = (text or "").rstrip("\n").rpartition("\n")
    return _read(lines[-1]) if lines[-1] else None


def type_and_message(error: AttemptError | None) -> dict[str, str] | None:
    """Return what a list shows of an error, as values of JSON."""
    return None if error is None else {"type": error.type, "message": error.message}


def _read(line: str) -> AttemptError:
    try:
        stored = codec.loads(line)
        return AttemptError(
            attempt=int(stored["attempt"]),
            at=_moment(stored["at"]),
            type=str(stored["type"]),
            message=str(stored["message"]),
            traceback=str(stored["traceback"]),
            started_at=_begun(stored),
            worker=str(stored.get("worker") or ""),
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return AttemptError(attempt=0, at=datetime.fromtimestamp(0, UTC), type="", message=line, traceback="")


def _begun(stored: dict[str, str]) -> datetime | None:
    try:
        return _moment(stored["started_at"])
    except (KeyError, ValueError, TypeError, OverflowError):  # another version's, or written by hand
        return None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def storable(text: str) -> str:
    """Return `text` with NUL and lone surrogates written out, shortened in the middle to `MOST_TEXT`."""
    if len(text) > MOST_TEXT:
        half = MOST_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return written_out(text)


def _calls_jobs(path: str) -> bool:
    return path.startswith(_CALLING) and not path.startswith(_DEMO)


def _traceback(error: BaseException) -> str:
    """Return the traceback from the user's code on: the frames that call it are the same for every job."""
    try:
        return _plain_traceback(error) or _full_traceback(error)
    except BaseException as broken:  # formatting calls methods of the exception and of its causes
        return f"<its traceback cannot be read: {type(broken).__name__}>"


def _plain_traceback(error: BaseException) -> str | None:
    """Return the traceback of an error with nothing but frames and a message; None: it has more, or too many frames.

    Jobs mostly fail where others did, and Python would look for the file and parse the line anew each time: the text of each
    frame is kept, and takes 8 µs instead of 310.
    """
    if error.__cause__ is not None or error.__context__ is not None or isinstance(error, _OF_SEVERAL_PARTS):
        return None
    frame = error.__traceback__
    while frame is not None and _calls_jobs(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    lines: list[str] = []
    while frame is not None and len(lines) <= MOST_FRAMES:
        lines.append(_frame(frame))
        frame = frame.tb_next
    if not lines or len(lines) > MOST_FRAMES:
        return None
    return "".join(["Traceback (most recent call last):\n", *lines, *traceback.format_exception_only(error)])


def _frame(frame: TracebackType) -> str:
    code = frame.tb_frame.f_code
    known = _frames.get((id(code), frame.tb_lasti))
    if known is not None:
        return known[1]
    text = "".join(traceback.format_tb(frame, limit=1))
    if len(_frames) >= MOST_KNOWN:
        _frames.clear()
    _frames[id(code), frame.tb_lasti] = code, text  # kept with the code object, so that no other gets its id
    return text


def _full_traceback(error: BaseException) -> str:
    if is_vast(error):
        frames = "".join(traceback.format_tb(error.__traceback__, limit=-MOST_FRAMES))
        more = f"(of its causes and parts, more than {MOST_PARTS}, none is shown)"
        return f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}: {message_of(error)}\n{more}\n"
    found = traceback.TracebackException(type(error), error, error.__traceback__, limit=-MOST_FRAMES, compact=True)
    left = [found]
    while left:
        one = left.pop()
        # An error with no other frames keeps them: asyncjobs itself raised it.
        if begin := next((n for n, frame in enumerate(one.stack) if not _calls_jobs(frame.filename)), 0):
            del one.stack[:begin]
        left += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
    return "".join(found.format())
