"""An attempt's error as stored text, and back: one JSON object a line.

An exception is anybody's object: its message may hold NUL or lone surrogates, which PostgreSQL refuses, be megabytes long,
or raise when asked for. Whatever it is, the failure must be storable, or the job is stuck.
"""

from __future__ import annotations

import os
import re
import traceback
from datetime import UTC, datetime
from pathlib import Path

import anyio

from asyncjobs.defining import codec
from asyncjobs.defining.status import AttemptError
from asyncjobs.harmless import message_of

MOST_TEXT = 32_768
"""Characters of a message or traceback that are kept: the first and the last half."""
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_ROOMS = Path(__file__).parents[1]
_CALLING = (f"{_ROOMS}{os.sep}", f"{Path(anyio.__file__).parent}{os.sep}")
"""Where the code is that calls a job's: this package, and anyio's threads."""
_A_USERS = f"{_ROOMS / 'demo'}{os.sep}"


def describe_error(error: BaseException, *, attempt: int) -> str:
    """Return one line of JSON that says how an attempt went wrong."""
    kind = type(error)
    return codec.dumps(
        {
            "attempt": attempt,
            "at": datetime.now(UTC).isoformat(),
            "type": storable(f"{kind.__module__}.{kind.__qualname__}"),
            "message": storable(message_of(error)),
            "traceback": storable(_traceback(error)),
        }
    )


def read_errors(text: str | None) -> list[AttemptError]:
    """Return stored errors, oldest first; a line that is none is shown as a message."""
    return [_read(line) for line in (text or "").split("\n") if line]


def _read(line: str) -> AttemptError:
    try:
        stored = codec.loads(line)
        return AttemptError(
            attempt=int(stored["attempt"]),
            at=datetime.fromisoformat(stored["at"]),
            type=str(stored["type"]),
            message=str(stored["message"]),
            traceback=str(stored["traceback"]),
        )
    except (ValueError, TypeError, KeyError):
        return AttemptError(attempt=0, at=datetime.fromtimestamp(0, UTC), type="", message=line, traceback="")


def storable(text: str) -> str:
    """Return `text` with NUL and lone surrogates written out, shortened in the middle to `MOST_TEXT`."""
    if len(text) > MOST_TEXT:
        half = MOST_TEXT // 2
        text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
    return _UNSTORABLE.sub(
        lambda found: f"\\x{ord(found[0]):02x}" if found[0] == "\x00" else f"\\u{ord(found[0]):04x}", text
    )


def _calls_jobs(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith(_CALLING) and not frame.filename.startswith(_A_USERS)


def _traceback(error: BaseException) -> str:
    """Return the traceback from the user's code on: what called it is the same for every job."""
    try:
        found = traceback.TracebackException(type(error), error, error.__traceback__, limit=-50, compact=True)
        left = [found]
        while left:
            one = left.pop()
            # Not where there is nothing else: what asyncjobs itself raised is nowhere else to be seen.
            if begin := next((n for n, frame in enumerate(one.stack) if not _calls_jobs(frame)), 0):
                del one.stack[:begin]
            left += [other for other in (one.__cause__, one.__context__, *(one.exceptions or ())) if other is not None]
        return "".join(found.format())
    except BaseException as broken:  # it asks the exception and its causes for their texts
        return f"<its traceback cannot be read: {type(broken).__name__}>"
