"""Filters of jobs for actions by hand: what callers give, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, NamedTuple, TypedDict, Unpack

from asyncjobs.checks import keywords, limits
from asyncjobs.checks.texts import shown
from asyncjobs.client.label_filters import Labelled, labelled
from asyncjobs.db.job_actions import Picked
from asyncjobs.db.reading import ListedJob
from asyncjobs.db.rows import State
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidOption
from asyncjobs.failing import failures
from asyncjobs.failing.stored_errors import last_error

MOST_ERROR = 1_000
"""Characters."""


class Action(Enum):
    """An action on jobs."""

    retry = "retry"
    discard = "discard"
    cancel = "cancel"

    @property
    def states(self) -> tuple[State, ...]:
        """The states that a filter for this action may name."""
        return _STATES[self]

    @property
    def usual_states(self) -> tuple[State, ...]:
        """The states of a filter that names none."""
        return (State.failed,) if self is Action.retry else _STATES[self]


_STATES = {
    Action.retry: (State.failed, State.discarded, State.cancelled, State.scheduled),
    Action.discard: (State.scheduled, State.ready, State.waiting, State.failed),
    Action.cancel: (State.scheduled, State.ready, State.running, State.waiting),
}


class Which(TypedDict, total=False):
    """A filter of jobs, as callers give it."""

    kind: Any
    """A `@job` function, a Job class or a kind's name, its aliases included; a former name: it alone."""
    queue: str | None
    state: str | Iterable[str] | None
    """One or several names of states; None: see `Action.usual_states`."""
    error: str | None
    """The name of the last error's type (``"ConnectionError"``), or a piece of its message, case-sensitive."""
    older_than: float | timedelta | None
    """Seconds or a timedelta since the job ended; for a live job, since it was enqueued."""
    limit: int | None
    """The number of jobs, at most, the oldest first; None: all."""
    group: str | None
    """The id of a group of failed jobs, as `failures()` and `asyncjobs jobs failed` show it."""
    tag: str | Iterable[str] | None
    """One or several tags; a job must have all of them."""
    meta: Mapping[str, str] | None
    """Entries of meta; a job must have all of them."""
    arguments: Mapping[str, Any] | None
    """Values of arguments by name; a job must have all of them."""


class Filter(NamedTuple):
    """A checked filter of jobs, made by `filter_of`."""

    states: tuple[State, ...]
    kinds: tuple[str, ...] | None
    queue: str | None
    error: str | None
    """The name of the last error's type, or a piece of its message."""
    older_than: float
    """Seconds."""
    limit: int | None
    group: str | None = None
    """The id of a `FailureGroup`."""
    labelled: Labelled = Labelled()


def filter_of(action: Action, **which: Unpack[Which]) -> Filter:
    """Return a checked filter; an empty one matches all jobs in the usual states of `action`.

    Raises:
        InvalidOption: A value is invalid; the message names it, its limit and the remedy.
    """
    unknown = which.keys() - Which.__annotations__.keys()
    if unknown:
        raise InvalidOption(keywords.unknown("a filter of jobs", min(unknown), Which.__annotations__))
    kind, queue, error = which.get("kind"), which.get("queue"), which.get("error")
    older_than, limit = which.get("older_than"), which.get("limit")
    if (group := which.get("group")) is not None and (kind, error, which.get("state")) != (None, None, None):
        raise InvalidOption("group= is of one kind, one error and failed jobs: leave out kind=, error= and state=")
    if group is not None and State.failed not in action.states:
        raise InvalidOption(f"group= is of failed jobs, and there is nothing to {action.value}: retry or discard them")
    return Filter(
        states=(State.failed,) if group is not None else _states(action, which.get("state")),
        kinds=None if kind is None else checked_kinds(kind),
        queue=None if queue is None else limits.queue_name(queue),
        error=None if error is None else checked_error(error),
        older_than=0.0 if older_than is None else limits.duration(older_than, "older_than"),
        limit=None if limit is None else limits.whole(limit, "limit", least=1, most=2**31 - 1),
        group=None if group is None else _group(group),
        labelled=labelled(which.get("tag"), which.get("meta"), which.get("arguments"), kind),
    )


def _states(action: Action, given: Any) -> tuple[State, ...]:
    if given is None:
        return action.usual_states
    names = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    allowed = {state.name: state for state in action.states}
    for name in names:
        if name not in allowed:
            raise InvalidOption(f"state={name!r} is nothing to {action.value}: use {', '.join(allowed)}")
    if not names:
        raise InvalidOption(f"state names no state: use {', '.join(allowed)}, or leave it out")
    return tuple(allowed[name] for name in names)


def checked_kinds(kind: Any) -> tuple[str, ...]:
    """Return the kinds of a filter: of a definition, or the name that it has today, also its aliases."""
    if isinstance(kind, str):
        definition = registry.find(limits.kind_name(kind))
        if definition is None or registry.stored_name(kind) != definition.kind:
            return (kind,)
    elif (definition := getattr(kind, "_definition", None)) is None:
        raise InvalidOption(f"kind={kind!r} is no job definition: give a @job function, a Job class or a kind's name")
    return (definition.kind, *definition.aliases)


def _group(given: Any) -> str:
    if not isinstance(given, str) or not failures.ID.fullmatch(given):
        raise InvalidOption(
            f"group={shown(given)} is no id of a group: give one that `asyncjobs jobs failed` shows, ten of 0-9 a-f"
        )
    return given


def checked_error(text: Any) -> str:
    """Return the error of a filter."""
    if not isinstance(text, str) or not 0 < len(text) <= MOST_ERROR:
        raise InvalidOption(
            f"error must be 1 to {MOST_ERROR} characters: the name of the last error's type, such as 'ConnectionError', "
            "or a piece of its message"
        )
    return limits.reason(text, "error")


def fails_so(job: Picked | ListedJob, wanted: str | None) -> bool:
    """Whether a job's last error is of a type of this name, or has this text in its message; None matches every job."""
    if wanted is None:
        return True
    error = last_error(job.error)
    return error is not None and (f".{error.type}".endswith(f".{wanted}") or wanted in error.message)


def matches(job: Picked, wanted: Filter) -> bool:
    """Whether a job's last error is as a filter has it."""
    if wanted.group is not None:
        return failures.group_of(job.kind, job.error)[0] == wanted.group
    return fails_so(job, wanted.error)
