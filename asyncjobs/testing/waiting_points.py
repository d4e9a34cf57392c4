"""Places: positions in the code at which a job waits."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import sysconfig
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

import anyio.to_thread

import asyncjobs

_OURS = str(Path(asyncjobs.__file__).parent) + "/"
_LIBRARIES = tuple({sysconfig.get_paths()[name] + "/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})

_INTO_THREADS = frozenset({anyio.to_thread.run_sync.__code__, asyncio.to_thread.__code__})

Side = Literal["waits", "goes on", "writes", "has written"]

_SAYS: dict[Side, str] = {
    "waits": "while it waits for this",
    "goes on": "when this was done, before the job knew it",
    "writes": "before {} was written",
    "has written": "when {} was written and the answer was lost",
}


class Place(NamedTuple):
    """One place, with the number of times that the job came to it."""

    number: int
    """Position among all places of a run, from 1."""
    file: str
    line: int
    function: str
    side: Side
    what: str
    """Written: "a checkpoint" or "the job's end"; empty for a suspension."""
    occurrence: int
    """From 1: a loop comes to the same place repeatedly."""
    in_thread: bool = False
    """Whether the job waits for a thread, inside which nothing is cut."""

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        times = "" if self.occurrence == 1 else f", time {self.occurrence}"
        return (
            f"place {self.number}: {self.file}:{self.line} in {self.function}{times}\n"
            f"    {source or '?'}\n"
            f"    {_SAYS[self.side].format(self.what)}"
        )


def frames_of(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine and of what it awaits, the innermost last."""
    found = []
    while coroutine is not None:
        for frame, awaited in (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await")):
            at = getattr(coroutine, frame, None)
            if at is not None:
                found.append(at)
                coroutine = getattr(coroutine, awaited, None)
                break
        else:
            return found
    return found


def is_users(frame: FrameType) -> bool:
    """Whether a frame is of the user's own code: not asyncjobs's, the standard library's or an installed package's."""
    file = frame.f_code.co_filename
    if file.startswith("<"):
        return False
    return not file.startswith(_OURS) and not any(file.startswith(place) for place in _LIBRARIES)


def users_line(*coroutines: Any) -> tuple[str, int, str] | None:
    """Return file, line and function of the innermost frame of the user's code in the first coroutine that has one."""
    for coroutine in coroutines:
        for frame in reversed(frames_of(coroutine)):
            if is_users(frame):
                return frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname
    return None


def code_line(function: Any) -> tuple[str, int, str] | None:
    """Return file, first line and name of a function or method; None when it is not written in Python."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return None if code is None else (code.co_filename, code.co_firstlineno, code.co_qualname)


def waits_for_thread(coroutine: Any) -> bool:
    """Whether a suspended coroutine waits for a thread, as by `anyio.to_thread.run_sync` or `asyncio.to_thread`."""
    return any(frame.f_code in _INTO_THREADS for frame in frames_of(coroutine))
