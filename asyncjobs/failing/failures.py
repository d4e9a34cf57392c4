"""Groups of failed jobs: of one kind, with an error of one type, at one line of the user's code."""

from __future__ import annotations

import hashlib
import re
import sysconfig
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from asyncjobs.failing.stored_errors import last_error

ID = re.compile("[0-9a-f]{10}")
_FRAME = re.compile(r'^ *(?:\| )? *File "(.+)", line ([0-9]+)')
_BEGIN = re.compile(r"(?:Traceback|  \+ Exception Group Traceback) \(most recent call last\):")
_LIBRARIES = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib(?:64)?[/\\]python3\.[0-9]+[/\\]|^<", re.IGNORECASE)
_NOT_USERS = (f"{Path(__file__).parents[1]}", f"{sysconfig.get_paths()['stdlib']}")
"""Folders of this package and of Python's own modules."""
_DEMO = f"{Path(__file__).parents[1] / 'demo'}"


class FailureGroup(NamedTuple):
    """Failed jobs of one kind with the same error at the same line."""

    id: str
    """The same as long as kind, error and line are the same; see `retry_all(group=…)`."""
    kind: str
    error: str
    """The type of the last error; empty where the stored text is no error of asyncjobs."""
    line: str
    """file:line of the innermost frame in the user's code; empty if there is none, for instance when the process died."""
    total: int
    first: datetime
    """When the first job failed, and in `last` the last one."""
    last: datetime
    message: str
    """The error's message, of the job that was enqueued last."""
    newest: UUID
    """The id of the job that was enqueued last."""


class Failures(NamedTuple):
    """The groups found among the newest failed jobs."""

    groups: list[FailureGroup]
    """The largest first."""
    looked_at: int
    """The number of failed jobs that were read."""
    is_complete: bool
    """Whether these were all failed jobs."""


class Failed(NamedTuple):
    """A failed job."""

    id: UUID
    kind: str
    at: datetime
    error: str | None
    """Its last error, one JSON line."""


def line_of(traceback: str) -> str:
    """Return file:line of the innermost frame in the user's code, of the error itself and not of its causes."""
    lines = traceback.splitlines()
    begin = max((n for n, line in enumerate(lines) if _BEGIN.match(line)), default=0)
    frames = []
    for line in lines[begin:]:
        if line.startswith("  +-+---"):
            break  # the parts of a group
        if found := _FRAME.match(line):
            frames.append((found[1], found[2]))
    own = [frame for frame in frames if not _is_library(frame[0])]
    place = next(reversed(own or frames), None)
    return "" if place is None else f"{place[0]}:{place[1]}"


def _is_library(path: str) -> bool:
    return _LIBRARIES.search(path) is not None or (path.startswith(_NOT_USERS) and not path.startswith(_DEMO))


def group_of(kind: str, error: str | None) -> tuple[str, str, str, str]:
    """Return the group of a failed job: its id, the type of the error, the line, and the message."""
    last = last_error(error)
    name, line = (last.type, line_of(last.traceback)) if last else ("", "")
    made = hashlib.sha256(f"{kind}\0{name}\0{line}".encode()).hexdigest()[:10]
    return made, name, line, last.message if last else ""


def grouped(jobs: Iterable[Failed]) -> list[FailureGroup]:
    """Group jobs that are ordered from the last enqueued to the first; the largest group comes first."""
    found: dict[str, FailureGroup] = {}
    for job in jobs:
        made, name, line, message = group_of(job.kind, job.error)
        known = found.get(made)
        if known is None:
            found[made] = FailureGroup(made, job.kind, name, line, 1, job.at, job.at, message, job.id)
        else:
            found[made] = known._replace(
                total=known.total + 1, first=min(known.first, job.at), last=max(known.last, job.at)
            )
    return sorted(found.values(), key=lambda group: (-group.total, group.kind, group.id))
