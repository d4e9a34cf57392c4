"""Stacks of the code that an event loop runs, read from another thread meanwhile."""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

DEEPEST = 50
"""Frames of a stack that are shown, the innermost ones: an endless recursion has a thousand."""

_HERE = f"{Path(__file__).parents[2]}{os.sep}"
_DEMO = f"{_HERE}demo{os.sep}"  # its jobs count as a user's code
_LIBRARIES = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Place(NamedTuple):
    """A line of code, and how the code got there."""

    path: str
    line: int
    function: str
    stack: str
    """The stack as in a traceback, the outermost frame first, without frames of asyncjobs."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line} in {self.function}"


Frames = Sequence[tuple[FrameType, int]]
"""Frames, the outermost first, each with its line at that moment: the code goes on meanwhile."""


def frames_of(thread: int, task: asyncio.Task[Any] | None, base: CodeType | None) -> Frames:
    """Return the frames of what an event loop runs; fast and without I/O, which would let the loop go on.

    Args:
        thread: The id of the loop's thread.
        task: The loop's current task; None: a callback runs.
        base: The code that callbacks are called from.

    Returns:
        The frames; none while the loop waits for events.
    """
    frames: list[tuple[FrameType, int]] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        frames.append((frame, frame.f_lineno or 0))
        frame = frame.f_back
    frames.reverse()
    outermost = getattr(task.get_coro(), "cr_frame", None) if task is not None else None
    begin = next((n for n, (frame, _) in enumerate(frames) if frame is outermost), None)
    if begin is None:
        begin = max((n + 1 for n, (frame, _) in enumerate(frames) if frame.f_code is base), default=len(frames))
    return frames[begin:]


def place_of(frames: Frames) -> Place:
    """Return the line of the user's code: in the innermost frame outside of libraries, else in the job's own function."""
    frames = frames[next((n for n, (frame, _) in enumerate(frames) if not _is_ours(frame)), 0) :]
    frame, line = next((found for found in reversed(frames) if not _is_library(found[0])), frames[0])
    stack = traceback.StackSummary.extract(iter(frames[-DEEPEST:]))
    return Place(frame.f_code.co_filename, line, frame.f_code.co_name, "".join(stack.format()).rstrip())


def _is_ours(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    if path == "<string>":  # what `namedtuple` generates is nobody's code, and asyncjobs has it called between two jobs
        return str(frame.f_globals.get("__name__", "")).startswith("namedtuple_")
    return path.startswith(_HERE) and not path.startswith(_DEMO)


def _is_library(frame: FrameType) -> bool:
    path = frame.f_code.co_filename
    return path.startswith("<") or path.startswith(_LIBRARIES) or _is_ours(frame)
