"""A pause of a queue or a kind: what may be asked for, and what is told of it."""

from __future__ import annotations

import getpass
import socket
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from asyncjobs.checks import limits
from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidOption

MOST_NAME = 200
"""Characters of the name of whoever pauses."""


class Pause(NamedTuple):
    """A queue or a kind of which nothing is started."""

    queue: str | None
    """None: it is a kind that is paused."""
    kind: str | None
    """As it is stored."""
    since: datetime
    until: datetime | None
    """By the database's clock; None: until somebody resumes it."""
    reason: str
    by: str
    """Who paused it."""

    @property
    def what(self) -> str:
        """What is paused, as messages name it."""
        return f"kind {self.kind}" if self.queue is None else f"queue {self.queue}"


class Paused(NamedTuple):
    """What a pause is of."""

    scope: str
    """queue or kind."""
    names: tuple[str, ...]
    """As they are stored; a kind's aliases among them."""


def paused(queue: Any, kind: Any) -> Paused:
    """Return what is meant by the arguments of `pause` and `resume`.

    Raises:
        InvalidOption: Both were given or none, or it can be no queue or kind.
    """
    if (queue is None) == (kind is None):
        raise InvalidOption("give queue= or kind=, one of them: which is to be paused or resumed")
    if queue is not None:
        if isinstance(queue, str) and ("*" in queue or queue.startswith("-")):
            raise InvalidOption(f"queue={shown(queue)} is a pattern, and a pause is of one queue: give its name")
        return Paused("queue", (limits.queue_name(queue),))
    definition = registry.find(kind) if isinstance(kind, str) else getattr(kind, "_definition", None)
    if definition is not None:
        return Paused("kind", tuple(map(registry.stored_name, (definition.kind, *definition.aliases))))
    if not isinstance(kind, str):
        raise InvalidOption(
            f"kind={shown(kind)} is no job definition: give a @job function, a Job class or a kind's name"
        )
    return Paused("kind", (registry.stored_name(limits.kind_name(kind)),))


def end_of_pause(until: Any) -> tuple[datetime | None, float | None]:
    """Return when a pause ends: a point in time, or seconds from now on; neither: it is resumed by hand.

    Raises:
        InvalidOption: It is neither a time nor a time span.
    """
    if until is None:
        return None, None
    if isinstance(until, datetime):
        return limits.moment(until, "until"), None
    if not isinstance(until, timedelta | int | float) or isinstance(until, bool):
        raise InvalidOption(
            f"until={shown(until)} is no time: give an aware datetime, a timedelta, or seconds from now"
        )
    return None, limits.timeout(until, "until")


def who(by: Any) -> str:
    """Return who pauses: the name given, else this process's login and host.

    Raises:
        InvalidOption: It is no name that can be stored.
    """
    if by is None:
        return f"{_login()}@{socket.gethostname()}"
    if not isinstance(by, str) or not 0 < len(by) <= MOST_NAME or not is_storable(by):
        raise InvalidOption(f"by={shown(by)} is no name: give 1 to {MOST_NAME} characters, without NUL")
    return by


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # this user has no name here, as in many a container
        return "somebody"
