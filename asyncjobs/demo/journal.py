"""The journal: a file to which the worker's jobs append which step they begin, and which the client reads along.

One write of one line to a file opened for appending: lines of several processes do not mix, and one that is killed leaves
at most its last line out.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from asyncjobs import Job

STEPS = ("moderate", "analyze", "generate", "notify")


class Entry(NamedTuple):
    """A job began a step."""

    job_id: UUID
    step: str
    attempt: int
    at: float
    """Seconds since the epoch."""


def note(file: Path, job: Job[Any], step: str) -> None:
    """Append that `job` begins `step`. Showing the progress is never a reason to fail."""
    line = json.dumps([str(job.id), step, job.attempt, time.time()]) + "\n"
    with contextlib.suppress(OSError):
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


class Journal:
    """The client's side: makes the file, and reads what is new in it."""

    def __init__(self, file: Path) -> None:
        file.touch()
        self.file = file
        self._position = 0

    def news(self) -> list[Entry]:
        """Return what was noted since the last call, oldest first."""
        with self.file.open("rb") as opened:
            opened.seek(self._position)
            whole, newline, _ = opened.read().rpartition(b"\n")
        self._position += len(whole) + len(newline)
        return [_entry(line) for line in whole.splitlines()]


def _entry(line: bytes) -> Entry:
    job_id, step, attempt, at = json.loads(line)
    return Entry(UUID(job_id), step, attempt, at)
