"""The oracle: what really happened, told by the jobs themselves, outside the database under test.

A job appends one JSON line an event to a file opened with O_APPEND, one write a line, so that lines of many processes
never mix and a SIGKILL takes back nothing. Times are CLOCK_MONOTONIC, comparable across the processes of one machine.

    @job
    async def pay(n: int) -> None:
        with oracle.interval(current_job()):      # start … end
            ...
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.processes import PATIENCE, before_next_look
from tests.support.runs import Run, overlaps_of, runs_of

PATH_VARIABLE = "ASYNCJOBS_WORKER_ORACLE"
WORKER_VARIABLE = "ORACLE_WORKER_NAME"
_descriptors: dict[str, int] = {}


def write(
    event: str, *, job_id: object = None, attempt: int | None = None, path: str | Path | None = None, **fields: Any
) -> None:
    """Append one event. Does nothing when there is neither *path* nor ASYNCJOBS_WORKER_ORACLE."""
    target = str(path or os.environ.get(PATH_VARIABLE, ""))
    if not target:
        return
    if target not in _descriptors:
        _descriptors[target] = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    line = {
        "ns": time.monotonic_ns(),
        "pid": os.getpid(),
        "worker": os.environ.get(WORKER_VARIABLE, ""),
        "job_id": None if job_id is None else str(job_id),
        "attempt": attempt,
        "event": event,
        **fields,
    }
    os.write(_descriptors[target], json.dumps(line, default=str).encode() + b"\n")


def note(job: Any, event: str, **fields: Any) -> None:
    """Append an event of a job: anything with `id` and `attempt`."""
    write(event, job_id=job.id, attempt=job.attempt, **fields)


@contextmanager
def interval(job: Any, **fields: Any) -> Iterator[None]:
    """Note `start`, and `end` however the block ends, short of the death of the process. `how` is ok or the error."""
    note(job, "start", **fields)
    how = "ok"
    try:
        yield
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        note(job, "end", how=how, **fields)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the oracle."""

    ns: int
    pid: int
    worker: str
    job_id: str | None
    attempt: int | None
    event: str
    fields: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_line(cls, line: bytes) -> "Event":
        values = json.loads(line)
        known = {name: values.pop(name) for name in ("ns", "pid", "worker", "job_id", "attempt", "event")}
        return cls(**known, fields=values)

    def matches(self, wanted: dict[str, Any]) -> bool:
        return all(
            (getattr(self, name) if name in {"pid", "worker", "job_id", "attempt", "event"} else self.fields.get(name))
            == value
            for name, value in wanted.items()
        )


class Oracle:
    """Reads the oracle's file. *path* need not exist yet."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._events: list[Event] = []
        self._offset = 0

    @property
    def environment(self) -> dict[str, str]:
        """What makes a child process write here."""
        return {PATH_VARIABLE: str(self.path)}

    def write(self, event: str, **fields: Any) -> None:
        """Append an event of the test itself, such as an enqueuer's try and ok."""
        write(event, path=self.path, **fields)

    def events(self, **wanted: Any) -> list[Event]:
        """All events so far, in order; with names and values (`event="start"`, `pid=…`), those that have them."""
        self._read()
        if "job_id" in wanted:
            wanted["job_id"] = str(wanted["job_id"])
        return [event for event in self._events if event.matches(wanted)]

    async def wait_for(self, *, count: int = 1, timeout: float = PATIENCE, **wanted: Any) -> list[Event]:
        """Wait until there are *count* such events (the first ones included); all of them.

        Raises:
            TimeoutError: There were fewer after *timeout* seconds; the message has the last lines.
        """
        began = time.monotonic()
        if "job_id" in wanted:
            wanted["job_id"] = str(wanted["job_id"])
        found: list[Event] = []
        seen = 0
        while True:
            self._read()
            found += [event for event in self._events[seen:] if event.matches(wanted)]
            seen = len(self._events)
            if len(found) >= count:
                return found
            if time.monotonic() > began + timeout:
                last = "\n".join(map(str, self._events[-10:])) or "nothing at all"
                raise TimeoutError(f"{len(found)} of {count} events {wanted} in {timeout} s; the last lines:\n{last}")
            await before_next_look(began)

    def runs(self, job_id: object = None) -> list[Run]:
        """The runs of one job, or of all, in order of their start."""
        return runs_of(self.events() if job_id is None else self._about(str(job_id)))

    def overlaps(self) -> list[tuple[Run, Run]]:
        """The pairs of runs of one job that ran at the same time."""
        return overlaps_of(self.runs())

    def _about(self, job_id: str) -> list[Event]:
        return [event for event in self.events() if event.job_id in {None, job_id}]

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _read(self) -> None:
        if self._size() <= self._offset:
            return
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        self._events += [Event.from_line(line) for line in whole.splitlines()]
