"""Searches for jobs: a page of those that match, and how many there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, Protocol, TypedDict, TypeVar, Unpack, cast
from uuid import UUID

from asyncjobs.checks import keywords, limits
from asyncjobs.client.job_filters import checked_error, checked_kinds, fails_so
from asyncjobs.client.label_filters import Labelled, labelled
from asyncjobs.db import reading
from asyncjobs.db.connecting import Connection
from asyncjobs.db.errors import sqlstate_of
from asyncjobs.db.reading import ListedJob
from asyncjobs.db.rows import State, state_name
from asyncjobs.definitions import registry
from asyncjobs.definitions.labels import meta_in, tags_in
from asyncjobs.exceptions import DatabaseUnavailable, InvalidOption, PermissionDenied
from asyncjobs.failing.stored_errors import last_error, type_and_message
from asyncjobs.records.found_job import FoundJob
from asyncjobs.records.status import AttemptError, StateName
from asyncjobs.values import codec

T = TypeVar("T")

MOST = 1_000
"""Jobs of one page, at most."""
MOST_COUNTED = 2**31 - 1
TIMEOUT = 10.0
"""Seconds for one statement of a search."""
_CANCELLED = "57014"
_AFTER_ERRORS = (State.running, State.waiting, State.succeeded)
"""States in which a job's errors are of earlier attempts."""


class Sought(TypedDict, total=False):
    """A filter of jobs, as callers of `find` and `count` give it."""

    state: str | Iterable[str] | None
    """One or several names of states; None: any."""
    kind: Any
    """A `@job` function, a Job class or a kind's name, its aliases included; a former name: it alone."""
    queue: str | None
    tag: str | Iterable[str] | None
    """One or several tags; a job must have all of them."""
    meta: dict[str, str] | None
    """Entries of meta; a job must have all of them."""
    arguments: dict[str, Any] | None
    """Values of arguments by name; a job must have all of them."""
    error: str | None
    """The name of the last error's type (``"ConnectionError"``), or a piece of its message, case-sensitive."""
    older_than: float | timedelta | None
    """Seconds or a timedelta since the job ended; for a live job, since it was enqueued."""


class Wanted(NamedTuple):
    """A checked filter of jobs, made by `wanted_of`."""

    states: tuple[State, ...] | None
    kinds: tuple[str, ...] | None
    queue: str | None
    error: str | None
    older_than: float | None
    labelled: Labelled

    def text(self, by: Labelled, before: UUID | None) -> str:
        """Return it as JSON, as `asyncjobs.condition` takes it."""
        parts = {
            "states": self.states,
            "kinds": self.kinds and list(map(registry.stored_name, self.kinds)),
            "queue": self.queue,
            "before": None if before is None else str(before),
            "labels": by.labels or None,
            "searchable": by.searchable or None,
            "arguments": by.arguments or None,
            "error": None if self.error is None else codec.dumps(self.error)[1:-1],
            "older_than": self.older_than,
        }
        return codec.dumps({name: part for name, part in parts.items() if part is not None})

    @property
    def ways(self) -> tuple[Labelled, ...]:
        """The ways to look, of which the first that finds something counts.

        Of a kind that is not given, or not known here, nobody knows whether its arguments are in the index.
        """
        by = self.labelled
        is_known = any(registry.find(kind) is not None for kind in self.kinds or ())
        return (by,) if is_known or not by.searchable else (by, by.by_stored)


def wanted_of(**sought: Unpack[Sought]) -> Wanted:
    """Return a checked filter; an empty one matches all jobs.

    Raises:
        InvalidOption: A value is invalid; the message names it, its limit and the remedy.
        InvalidArguments: A value does not fit the argument of the kind.
    """
    if unknown := sought.keys() - Sought.__annotations__.keys():
        raise InvalidOption(keywords.unknown("a filter of jobs", min(unknown), Sought.__annotations__))
    state, kind, queue, error = (sought.get(name) for name in ("state", "kind", "queue", "error"))
    older_than = sought.get("older_than")
    return Wanted(
        None if state is None else _states(state),
        None if kind is None else checked_kinds(kind),
        None if queue is None else limits.queue_name(queue),
        None if error is None else checked_error(error),
        None if older_than is None else limits.duration(older_than, "older_than"),
        labelled(sought.get("tag"), sought.get("meta"), sought.get("arguments"), kind),
    )


def _states(given: Any) -> tuple[State, ...]:
    names = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    for name in names:
        if name not in State.__members__:
            raise InvalidOption(f"state={name!r} is no state: use {', '.join(State.__members__)}")
    if not names:
        raise InvalidOption(f"state names no state: use {', '.join(State.__members__)}, or leave it out")
    return tuple(State[name] for name in names)


class Runs(Protocol):
    """Runs one reading statement."""

    def __call__(self, operation: Callable[[Connection], Awaitable[T]], /) -> Awaitable[T]:
        """Run `operation`."""
        ...


async def find(run: Runs, wanted: Wanted, *, before: UUID | None, limit: int) -> list[ListedJob]:
    """Return jobs that match, newest first.

    Args:
        run: Runs each statement.
        wanted: The filter.
        before: The last id of the page before; None: this is the first.
        limit: The number of jobs, at most.
    """
    for by in wanted.ways:
        found: list[ListedJob] = []
        last = before
        while True:
            read = partial(reading.list_jobs, wanted=wanted.text(by, last), limit=limit)
            rows = await _read(run, wanted, read)
            found += [row for row in rows if fails_so(row, wanted.error)]
            if len(rows) < limit or len(found) >= limit:
                break
            last = rows[-1].id
        if found:
            break
    return found[:limit]


async def count(run: Runs, wanted: Wanted, *, most: int) -> int:
    """Return how many jobs match; `most` at most."""
    if wanted.error is not None:
        return await _count_errors(run, wanted, most)
    found = 0
    for by in wanted.ways:
        if found := await _read(run, wanted, partial(reading.count_jobs, wanted=wanted.text(by, None), most=most)):
            break
    return found


async def _count_errors(run: Runs, wanted: Wanted, most: int) -> int:
    """Count jobs whose last error is to be compared, page by page."""
    found, before = 0, None
    while found < most:
        rows = await find(run, wanted, before=before, limit=MOST)
        found += len(rows)
        if len(rows) < MOST:
            break
        before = rows[-1].id
    return min(found, most)


async def _read(run: Runs, wanted: Wanted, operation: Callable[[Connection], Awaitable[T]]) -> T:
    try:
        return await run(operation)
    except PermissionDenied as error:
        if not wanted.labelled.reads_arguments:
            raise
        raise PermissionDenied(
            "this login may not read arguments, and so not search by them: use one that has the role asyncjobs_worker, or "
            "search by tag= or meta="
        ) from error
    except DatabaseUnavailable as error:
        if sqlstate_of(error) != _CANCELLED:
            raise
        raise DatabaseUnavailable(f"the search took too long: {_remedy(wanted)}") from error


def _remedy(wanted: Wanted) -> str:
    if wanted.labelled.all_arguments:
        names = ", ".join(map(repr, wanted.labelled.all_arguments))
        return (
            f"arguments that are in no index are compared job by job: declare searchable=({names},) in the kind, for jobs "
            "enqueued from then on, or narrow the search by kind=, state=, queue= or tag="
        )
    return "narrow it by state=, queue= or tag="


def values_of(row: ListedJob) -> dict[str, Any]:
    """Return a row as values of JSON, with type and message of its error."""
    values = {**row._asdict(), "state": state_name(row.state), "error": type_and_message(last_error(row.error))}
    values.pop("labels")
    return {**values, "meta": meta_in(row.labels), "tags": tags_in(row.labels)}


def error_that_holds(row: ListedJob) -> AttemptError | None:
    """Return the error that a job failed with or is tried again for; None: there is none, or the job went on after it."""
    return None if row.state in _AFTER_ERRORS else last_error(row.error)


def shown_job(row: ListedJob) -> FoundJob:
    """Return a row as users have it."""
    return FoundJob(
        id=row.id,
        kind=row.kind,
        state=cast("StateName", state_name(row.state)),
        queue=row.queue,
        priority=row.priority,
        attempt=row.attempt,
        crashes=row.crashes,
        enqueued_at=row.enqueued_at,
        run_at=row.run_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        worker=row.worker,
        reason=row.reason,
        error=last_error(row.error),
        meta=meta_in(row.labels),
        tags=tags_in(row.labels),
    )
