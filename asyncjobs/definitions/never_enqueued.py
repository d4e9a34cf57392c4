"""The warning for a job that was made and never used, like Python's for a coroutine that was never awaited."""

from __future__ import annotations

import sys
import warnings
from types import CodeType
from typing import Any

from asyncjobs.exceptions import JobNeverEnqueued

Place = tuple[CodeType, int]
"""Code and instruction; looking up the line costs more, in a long function, than making the job."""

_registries: dict[str, dict[Any, Any]] = {}
"""Warnings that each file has had: the filter `default` shows a line once."""


def warn(kind: str, place: Place, asked: str | None, *, is_ending: Any = sys.is_finalizing) -> None:
    """Warn about the line that made a job; not while the interpreter ends, which drops everything.

    Args:
        kind: The job's.
        place: Where it was made.
        asked: Its method that was called and not awaited, and so had no effect; None: none was.
        is_ending: A default, since the module `sys` may be gone.
    """
    if is_ending():
        return
    code, instruction = place
    line = next((line for start, end, line in code.co_lines() if start <= instruction < end), None)
    where = f"{code.co_filename}:{line or code.co_firstlineno}"
    if asked is None:
        why = "neither enqueued nor used: calling a definition only makes a job; write `await …(…).enqueue()`"
    else:
        why = f"its {asked}() was not awaited, so it did nothing: write `await …(…).{asked}()`"
    text = (
        f"a job {kind} was made at {where} and {why}, and give what calls something later `job.enqueue`, "
        "as in `add_task(job.enqueue)`"
    )
    registry = _registries.setdefault(code.co_filename, {})
    warnings.warn_explicit(text, JobNeverEnqueued, code.co_filename, line or code.co_firstlineno, registry=registry)
