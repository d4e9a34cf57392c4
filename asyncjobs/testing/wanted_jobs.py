"""`Wanted`: the jobs of an assertion, by kind, arguments and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from asyncjobs.checks.texts import shown
from asyncjobs.client.statuses import definition_of
from asyncjobs.db.rows import State
from asyncjobs.db.test_kit import Seen
from asyncjobs.definitions.definition import Definition
from asyncjobs.definitions.labels import checked_meta, checked_tags, meta_in, tags_in
from asyncjobs.exceptions import AsyncJobsError, InvalidOption
from asyncjobs.failing.stored_errors import last_error
from asyncjobs.values import codec

NEAR = timedelta(seconds=1)
"""The most by which a time may differ from `at`: one of the two is by the database's clock."""
MOST_SHOWN = 20


class Wanted:
    """Jobs of one kind, with some arguments and options.

    Args:
        kind: A `@job` function, a Job class or a kind's name.
        arguments: Arguments with these values, by name; others may have any. They are compared as they are read from the
            database, so `pytest.approx`, `unittest.mock.ANY` and models work.
        queue: None: any.
        priority: None: any.
        tags: Tags that it must have.
        meta: Entries of meta that it must have.
        at: When the job must be due, within a second; None: any time.

    Raises:
        InvalidOption: The kind is not defined, or has no such argument.
    """

    def __init__(
        self, kind: Any, arguments: Mapping[str, Any], *, queue: str | None, priority: int | None,
        tags: Iterable[str] | None, meta: Mapping[str, str] | None, at: datetime | None,
    ) -> None:  # fmt: skip
        self.definition: Definition = definition_of(kind)
        self._arguments = arguments
        self._options = {"queue": queue, "priority": priority}
        self._tags = () if tags is None else checked_tags(tags, "tags")
        self._meta = {} if meta is None else checked_meta(meta, "meta")
        self._at = at
        known = self.definition.arguments.names
        if unknown := [name for name in arguments if name not in known]:
            raise InvalidOption(
                f"{self.definition.kind} has no argument {unknown[0]!r}: it has {', '.join(known) or 'none'}"
            )

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={shown(value)}" for name, value in self._arguments.items())
        options = [f"{name}={value!r}" for name, value in self._options.items() if value is not None]
        options += [f"tags={self._tags!r}"] if self._tags else []
        options += [f"meta={self._meta!r}"] if self._meta else []
        if self._at is not None:
            options.append(f"at {self._at.isoformat()}")
        return f"{self.definition.kind}({arguments}){''.join(f', {option}' for option in options)}"

    def is_kind(self, job: Seen) -> bool:
        """Whether a job is of the kind."""
        return job.kind in (self.definition.kind, *self.definition.aliases)

    def matches(self, job: Seen) -> bool:
        """Whether a job is as wanted."""
        return self.is_kind(job) and not self.mismatches(job)

    def mismatches(self, job: Seen) -> list[str]:
        """Return the differences of a job of the kind, in words."""
        found = [
            f"{name} is {getattr(job, name)!r}"
            for name, value in self._options.items()
            if value is not None and getattr(job, name) != value
        ]
        tags, meta = tags_in(job.labels), meta_in(job.labels)
        found += [f"tags is {tags!r}"] if not set(self._tags) <= set(tags) else []
        found += [f"meta is {meta!r}"] if not self._meta.items() <= meta.items() else []
        if self._at is not None and (job.run_at is None or abs(job.run_at - self._at) > NEAR):
            found.append("it is final" if job.run_at is None else f"due at {job.run_at.isoformat()}")
        try:
            values = self.definition.arguments.load(job.args)
        except AsyncJobsError as error:
            return [*found, f"its arguments do not fit: {error}"]
        for name, wanted in self._arguments.items():
            if not self._equal(wanted, values[name], name, job):
                found.append(f"{name} is {shown(values[name])}")
        return found

    def _equal(self, wanted: Any, value: Any, name: str, job: Seen) -> bool:
        try:
            if wanted == value:
                return True
            stored = codec.loads(job.args)
            # A reference is stored as its key, and "42" for an int as 42.
            return bool(codec.loads(self.definition.arguments.dump({**stored, name: wanted}))[name] == stored[name])
        except Exception:
            return False


def listed(jobs: Sequence[Seen], wanted: Wanted) -> str:
    """Return all jobs, a line each, with the differences of those of the wanted kind."""
    lines = []
    for job in sorted(jobs, key=lambda job: not wanted.is_kind(job))[:MOST_SHOWN]:
        otherwise = wanted.mismatches(job) if wanted.is_kind(job) else []
        lines.append(f"  {described(job)}{' <- ' + '; '.join(otherwise) if otherwise else ''}")
    if len(jobs) > MOST_SHOWN:
        lines.append(f"  and {len(jobs) - MOST_SHOWN} more")
    return "\n".join(lines) or "  nothing"


def described(job: Seen) -> str:
    """Return one job as a line."""
    try:
        arguments = ", ".join(f"{name}={shown(value)}" for name, value in codec.loads(job.args).items())
    except (ValueError, AttributeError):
        arguments = shown(job.args)
    text = f"{job.kind}({arguments}) in queue {job.queue!r}, {State(job.state).name}"
    if job.priority:
        text += f", priority {job.priority}"
    if job.run_at is not None and job.state == State.scheduled:
        text += f" for {job.run_at.isoformat(timespec='seconds')}"
    if job.reason:
        text += f" ({job.reason})"
    if job.state != State.succeeded and (error := last_error(job.errors)):
        text += f", attempt {error.attempt}: {error.type.removeprefix('builtins.')}: {error.message}"
    return text
