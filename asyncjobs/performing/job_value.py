"""`JobValue`: a job's arguments, its properties, and the values that other rooms keep in it."""

from __future__ import annotations

import typing
from collections.abc import Callable
from contextvars import Context
from datetime import datetime, timedelta
from operator import attrgetter
from sys import _getframe
from typing import Any, ClassVar, Literal, cast
from uuid import UUID

from asyncjobs.checks import limits
from asyncjobs.checks.wrong_calls import NoValues
from asyncjobs.definitions import never_enqueued
from asyncjobs.definitions.definition import Definition
from asyncjobs.definitions.hooks import Hook, Point
from asyncjobs.definitions.ids import new_id
from asyncjobs.definitions.options import Options
from asyncjobs.exceptions import InvalidDefinition, NotEnqueued
from asyncjobs.failing.policies import Policy
from asyncjobs.performing.attempt import Attempt, CancelReason
from asyncjobs.performing.open_clients import OpenClient
from asyncjobs.values.previous import Pending

_perform_of = attrgetter("perform")
"""By name: `Job`, which derives from this, hides `perform` from type checkers."""
Disposition = Literal["enqueued", "duplicate", "replaced"]
_IMMUTABLE = frozenset({int, str, float, bool, bytes, type(None), UUID, datetime, timedelta})


class JobValue:
    """The base of `Job`, with the values of a job; `Job` adds the actions."""

    _definition: ClassVar[Definition]
    _options: ClassVar[Options] = Options()
    _declared: ClassVar[tuple[Policy, ...]] = ()
    _function_hooks: ClassVar[dict[Point, list[Hook]]] = {}

    # Defaults of each job's values stand on the class: setting ten attributes in each job took 0.7 µs.
    _values: dict[str, Any] = cast("dict[str, Any]", NoValues())
    _text: str | None = None
    _id: UUID | None = None
    _queue: str | None = None
    _priority: int | None = None
    _set_options: dict[str, Any] | None = None
    """The checked arguments of `set`, by name."""
    _state: str | None = None
    _sent: bool = False
    _client: OpenClient | None = None
    """The client by which it was enqueued or read; None: it was neither."""
    _disposition: Disposition | None = None
    _batch: UUID | None = None
    """The batch with which it was stored."""
    _attempt: Attempt | None = None
    _context: tuple[Context, Context] | None = None
    _made_at: never_enqueued.Place | None = None
    """Where it was made; None once it is used, or if it was loaded."""
    _asked: str | None = None
    """The last `async def` method called on an unused job; only awaiting it counts as use."""
    _stepper: Any = None
    """The `Stepper` of the running attempt; None: the attempt has used no steps."""

    @classmethod
    def _declare(cls, policy: Policy, *, first: bool = False) -> None:
        """Add a declaration about errors before (`first`) or after the class's own declarations."""
        own = cls.__dict__.get("_declared", ())
        cls._declared = (policy, *own) if first else (*own, policy)
        if (definition := cls.__dict__.get("_definition")) is not None:
            definition.__dict__.pop("policies", None)

    @classmethod
    def _perform_of_class(cls) -> Callable[..., Any]:
        found: Callable[..., Any] = _perform_of(cls)
        return found

    @classmethod
    def _definition_of_class(cls) -> Definition:
        definition = cls.__dict__.get("_definition")
        if definition is None:
            raise InvalidDefinition(f"{cls.__qualname__} is abstract: make a job of a class derived from it")
        return typing.cast("Definition", definition)

    def _begin(self, definition: Definition, values: dict[str, Any], text: str | None) -> None:
        """Fill a new job. `text`: its arguments as they will be stored; None for a job read from the database."""
        self._values = values
        self._text = text
        if definition.function is None:
            self.__dict__.update(values)
        if text is not None:
            frame = _getframe(2)  # the caller of the class or the function
            self._made_at = frame.f_code, frame.f_lasti

    def __getstate__(self) -> dict[str, Any]:
        self._made_at = None  # a pickled or copied job counts as used
        return {
            name: value
            for name, value in vars(self).items()
            if name not in ("_made_at", "_asked", "_context", "_client")
        }

    # Properties

    @property
    def id(self) -> UUID:
        """The job's id, a UUIDv7, known before the job is enqueued."""
        if self._id is None:
            self._id = new_id()
        return self._id

    @property
    def kind(self) -> str:
        """The stored name of the job's definition."""
        return self._definition.kind

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, as Python values; a copy."""
        return dict(self._values)

    @property
    def queue(self) -> str:
        """The queue of the job; a callable option is called each time until the job is enqueued."""
        if self._queue is not None:
            return self._queue
        queue = self._definition.options.queue if self._set_options is None else self._option("queue")
        return queue if isinstance(queue, str) else limits.queue_name(queue(self))

    @property
    def priority(self) -> int:
        """The priority; smaller runs first."""
        if self._priority is not None:
            return self._priority
        return self._definition.options.priority if self._set_options is None else self._option("priority")

    @property
    def state(self) -> str | None:
        """The last state known in this process, without asking the database; None before `enqueue`. See `status`."""
        return self._state

    @property
    def disposition(self) -> Disposition | None:
        """The result of `enqueue`; None before it."""
        return self._disposition

    @property
    def attempt(self) -> int:
        """The number of the running attempt, from 1; 0 when the job is not running here."""
        return self._attempt.number if self._attempt is not None else 0

    @property
    def stopping(self) -> bool:
        """Whether the attempt should come to an end: its worker is stopping, or the job was cancelled."""
        return self._attempt is not None and self._attempt.stopping

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the attempt was cancelled; None: it was not."""
        return self._attempt.seen_reason if self._attempt is not None else None

    def _option(self, name: str) -> Any:
        """Return an option of this job: the value given to `set`, else the definition's."""
        value = None if self._set_options is None else self._set_options.get(name)
        return getattr(self._definition.options, name) if value is None else value

    def _delay(self, seconds: float) -> None:
        """Make the job due so many seconds after it is enqueued, in place of any time set before."""
        said = {name: value for name, value in (self._set_options or {}).items() if name != "at"}
        self._set_options = {**said, "wait": seconds}

    def _require_row(self) -> None:
        self._made_at = None
        if not self._sent:
            raise NotEnqueued(
                f"{self.kind} has not been enqueued, and nothing but `await job.enqueue()` does that: call it first, "
                "or `await job.perform_now()` to run the job here"
            )

    def _stored_arguments(self) -> str:
        """Return the arguments as they are stored, with changes made since the job was made."""
        self._made_at = None
        values = self._values
        if self._text is not None and self._definition.function is not None:
            return self._text
        now = {name: self.__dict__.get(name, value) for name, value in values.items()}
        if isinstance(values, Pending):
            self._text = values.text(now)
            return self._text
        fixed = all(value is values[name] and type(value) in _IMMUTABLE for name, value in now.items())
        if self._text is None or not fixed:
            self._values = now
            self._text = self._definition.arguments.dump(now)
        return self._text

    def __repr__(self) -> str:
        state = f" {self._state}" if self._state else ""
        return f"<{self.kind} {self._id or 'not enqueued'}{state}>"
