"""A pause of a queue or a kind, and the checks of its arguments."""

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
"""Characters of the name of the person or program that pauses."""


class Pause(NamedTuple):
    """A queue or a kind of which no job is started."""

    queue: str | None
    """None: a kind is paused."""
    kind: str | None
    """The stored name."""
    since: datetime
    until: datetime | None
    """By the database's clock; None: until it is resumed."""
    reason: str
    by: str
    """The name of the person or program that paused."""

    @property
    def what(self) -> str:
        """The queue or kind, as messages name it."""
        return f"kind {self.kind}" if self.queue is None else f"queue {self.queue}"


class Paused(NamedTuple):
    """The target of a pause."""

    scope: str
    """queue or kind."""
    names: tuple[str, ...]
    """Stored names; for a kind, its aliases are among them."""


def paused(queue: Any, kind: Any) -> Paused:
    """Return the target that the arguments of `pause` and `resume` name.

    Raises:
        InvalidOption: Both or neither were given, or it can be no queue or kind.
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
    """Return when a pause ends: a point in time, or seconds from now; two Nones: when it is resumed.

    Raises:
        InvalidOption: `until` is neither a time nor a time span.
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
    """Return the name of who pauses: the given name, else this process's login and host.

    Raises:
        InvalidOption: The name cannot be stored.
    """
    if by is None:
        return f"{_login()}@{socket.gethostname()}"
    if not isinstance(by, str) or not 0 < len(by) <= MOST_NAME or not is_storable(by):
        raise InvalidOption(f"by={shown(by)} is no name: give 1 to {MOST_NAME} characters, without NUL")
    return by


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # the user has no name here, as in many containers
        return "somebody"
