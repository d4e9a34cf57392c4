"""`ChildJob`: one job that a step runs, and how it ended."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from asyncjobs.exceptions import AsyncJobsError, JobCancelled, JobDiscarded, JobError, JobFailed
from asyncjobs.performing.job_value import JobValue
from asyncjobs.values import codec

MOST_SAID = 1_000
"""Characters of an error or a reason that are recorded with the parent; the child's own row has the whole text."""
_DEEPEST = 20
"""Levels of a value that are searched for sets."""


@dataclass(slots=True)
class ChildJob:
    """One job that a step runs.

    Attributes:
        of: Fingerprint of its kind and arguments.
        state: The state in which it ended; None: its end is not known yet.
        result: Its result, as plain JSON.
        error_type: Type of the error that it failed with.
        said: The message of that error, or why it was discarded or cancelled.
        error: The error that awaiting it raised in this attempt.
    """

    id: UUID
    kind: str
    of: str
    state: str | None = None
    result: Any = None
    error_type: str | None = None
    said: str | None = None
    error: AsyncJobsError | None = None

    @classmethod
    def read(cls, stored: dict[str, Any]) -> Self:
        """Return a child from its record."""
        return cls(**{**stored, "id": UUID(stored["id"])})

    def stored(self) -> dict[str, Any]:
        """Return the record of the child, without values that are None."""
        said: dict[str, Any] = {"id": self.id, "kind": self.kind, "of": self.of}
        for name in ("state", "result", "error_type", "said"):
            if (value := getattr(self, name)) is not None:
                said[name] = value
        return said

    def failed(self, error: JobError) -> None:
        """Note that it ended without success."""
        self.error = error
        match error:
            case JobDiscarded():
                self.state, self.said = "discarded", error.reason[:MOST_SAID]
            case JobCancelled():
                self.state, self.said = "cancelled", error.reason[:MOST_SAID]
            case JobFailed():
                self.state, self.error_type, self.said = "failed", error.error_type, error.error_message[:MOST_SAID]
        if self.state != "failed":
            _mark_recorded(error)

    def forget_end(self) -> None:
        """Forget how it ended, since it runs again, or may."""
        self.state = self.error_type = self.said = self.error = None

    def made_error(self) -> JobError:
        """Return the error of a child whose end is recorded, as awaiting it would raise it."""
        error: JobError
        match self.state:
            case "discarded":
                error = JobDiscarded(job_id=self.id, kind=self.kind, reason=self.said or "")
            case "cancelled":
                error = JobCancelled(job_id=self.id, kind=self.kind, reason=self.said or "")
            case _:
                said, kind = self.said or "", self.error_type or ""
                error = JobFailed(job_id=self.id, kind=self.kind, error_type=kind, error_message=said)
        _mark_recorded(error)
        return error


def _mark_recorded(error: JobError) -> None:
    """Mark the error of a child that a retry of its parent does not run again."""
    error._recorded = True
    again = f"`asyncjobs jobs retry {error.job_id}`, then retry the parent"
    error.args = (f"{error}; a retry of its parent does not run it again: {again}",)


def fingerprint(job: JobValue) -> str:
    """Return a digest of a job's kind and arguments, the same in every process and on every attempt."""
    text = job._stored_arguments()
    values = codec.loads(text)
    given = job.arguments if "[" in text else {}  # JSON without a list holds no set
    plain = {name: _ordered(values[name], lists=_holds_set(given.get(name), _DEEPEST)) for name in sorted(values)}
    return hashlib.sha256(f"{job.kind}\0{codec.dumps(plain)}".encode()).hexdigest()[:32]


def _ordered(value: Any, *, lists: bool) -> Any:
    """Return plain JSON with keys in order, and with `lists` its lists too: the items of a set come in any order."""
    if isinstance(value, dict):
        return {key: _ordered(value[key], lists=lists) for key in sorted(value)}
    if isinstance(value, list):
        items = [_ordered(item, lists=lists) for item in value]
        return sorted(items, key=codec.dumps) if lists else items
    return value


def _holds_set(value: Any, levels: int) -> bool:
    """Whether a value holds a set anywhere: then the order of no list in its JSON is known to mean something."""
    if isinstance(value, set | frozenset):
        return True
    if levels == 0 or isinstance(value, str | bytes | int | float | None):
        return False
    if isinstance(value, dict):
        inside: Any = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    elif dataclasses.is_dataclass(value):
        inside = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    else:
        inside = getattr(value, "__dict__", {}).values()
    return any(_holds_set(item, levels - 1) for item in inside)
