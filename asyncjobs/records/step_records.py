"""Records of a job's steps, and the check that the running code still fits them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, NoReturn, Protocol

from asyncjobs.checks.texts import is_storable, shown
from asyncjobs.exceptions import InvalidStep

StepState = Literal[
    "started", "running", "succeeded", "skipped", "handled", "sleeping", "waiting", "timed_out", "failed"
]
StepForm = Literal["code", "jobs", "wait", "sleep"]
ENDED = frozenset({"succeeded", "skipped", "handled", "timed_out"})

MOST_STEPS = 10_000
MOST_NAME = 401
"""The name of a wait is its event and key, of 200 characters each."""


class Record(NamedTuple):
    """The record of one step."""

    n: int
    """Number in the order in which the job came to its steps, from 1."""
    name: str
    state: StepState
    result: str | None = None
    """JSON of its result, or of the event's payload."""
    cursor: str | None = None
    """JSON of its cursor's value."""
    remaining: float | None = None
    """Seconds left of a sleep or a wait when this was read; None: as long as it takes, or it is neither."""
    children: str | None = None
    """JSON of the jobs that it runs; None: it runs code, no jobs."""
    form: StepForm = "code"
    """Its form when it was recorded."""


class Write(NamedTuple):
    """A write of one step's record and of the job's attributes."""

    n: int = 0
    name: str | None = None
    """None: the attributes alone."""
    state: StepState = "started"
    result: str | None = None
    """JSON of its result."""
    cursor: str | None = None
    """JSON of its cursor's value."""
    error: str | None = None
    """JSON of the handled error."""
    age: float = 0.0
    """Seconds since it began."""
    attributes: str | None = None
    """JSON of the job's attributes; None: unchanged."""
    children: str | None = None
    """JSON of the jobs that it runs; None: it runs code, no jobs."""


class Recorder(Protocol):
    """The writer of the records of one attempt's steps; its task is out of reach of the job's code."""

    def write(self, write: Write) -> Awaitable[None]:
        """Write a record, whether or not somebody waits for it; done when it is durable.

        Raises:
            LeaseLost: Another worker has the job; nothing was recorded.
            DatabaseError: The database refuses it.
        """

    async def transact(
        self, body: Callable[[Any], Awaitable[Write]], *, through_sqlalchemy: bool = False, lends: bool = True
    ) -> None:
        """Run an isolated step: `body` in a transaction that also records what it returns, both or neither.

        Args:
            body: Takes a connection; when it raises, the transaction is rolled back and the error raised. It is called
                again, a few times, if the database rolls the transaction back because of others (40001, 40P01).
            through_sqlalchemy: Whether the connection is SQLAlchemy's, not asyncpg's.
            lends: Whether the step's code gets the connection, whose session is then cleaned afterwards.

        Raises:
            LeaseLost: Another worker has the job; nothing was committed.
            Interrupted: The database went away before the commit: the step must run again.
        """

    async def begin_wait(
        self, record: Record, *, event: str | None, key: str, seconds: float | None, attributes: str | None
    ) -> Record:
        """Begin a wait for a time (`event` None) or an event, or find it begun; return its present record."""

    async def load(self) -> list[Record]:
        """Return the records of earlier attempts, in their order."""

    async def settled(self) -> None:
        """Wait until no write is under way."""


class StepProgress:
    """The steps of one job: records of earlier attempts, and steps that this attempt has come to.

    Args:
        kind: For messages.
        records: Of earlier attempts.
    """

    def __init__(self, kind: str, records: Sequence[Record] = ()) -> None:
        self._kind = kind
        self._recorded = sorted(records)
        self._by_number = {record.n: record for record in self._recorded}
        self._numbers = {record.name: record.n for record in self._recorded}
        self.met: dict[str, None] = {}

    @property
    def recorded(self) -> list[Record]:
        """The records of earlier attempts, in their order."""
        return self._recorded

    def meet(self, name: str, *, formerly: Iterable[str] = (), code: Sequence[str] = ()) -> Record | None:
        """Note that the code has come to a step; return its record, None if there is none.

        Args:
            name: The step's.
            formerly: Names under which earlier versions of the code recorded it.
            code: The names of all steps of the code, as far as they are known, for the message.

        Raises:
            InvalidStep: The name is not valid, the step was met already, or another step was recorded in its place.
        """
        met = self.met
        check_name(self._kind, name)
        if name in met:
            raise InvalidStep(
                f"{self._kind}: step {name!r} is run twice in one attempt: give each run a name of its own, "
                "such as f'page {n}', and each wait for the same event a name="
            )
        number = len(met) + 1
        if number > MOST_STEPS:
            raise InvalidStep(f"{self._kind} has more than {MOST_STEPS:,} steps: use one step with a cursor")
        found = self._find(number, (name, *formerly), code) if self._recorded else None
        met[name] = None
        return found

    def _find(self, number: int, names: tuple[str, ...], code: Sequence[str]) -> Record | None:
        found = self._by_number.get(number)
        if found is not None and found.name not in names:
            self._refuse(names[0], f"recorded {found.name!r}", code)
        # A step whose error the code caught has no record, although later steps have.
        if found is None and (elsewhere := [known for known in names if known in self._numbers]):
            self._refuse(names[0], f"recorded {elsewhere[0]!r} as number {self._numbers[elsewhere[0]]}", code, number)
        return found

    @property
    def next_record(self) -> Record | None:
        """The record of the step after the one that the code came to last; None: it has none."""
        return self._by_number.get(len(self.met) + 1)

    @property
    def is_at_end(self) -> bool:
        """Whether there is no record after the step that the code came to last."""
        return not self._recorded or self._recorded[-1].n <= len(self.met)

    @property
    def next_number(self) -> int:
        """The number of the step that the code came to last; 0: it came to none."""
        return len(self.met)

    def _refuse(self, name: str, found: str, code: Sequence[str], number: int | None = None) -> NoReturn:
        then = ", ".join(repr(record.name) for record in self._recorded)
        now = ", ".join(repr(met) for met in (code or [*self.met, name]))
        raise InvalidStep(
            f"{self._kind}: the code comes to step {name!r}{'' if number is None else f' as number {number}'} "
            f"where this job {found}. "
            f"Recorded: {then}. The code now: {now}{'' if code else ' …'}. Steps may be added after the last one, and "
            "renamed with formerly=; give code that changes them otherwise a kind of its own while jobs are in flight, "
            "or run this job again from a step: asyncjobs jobs retry ID --from STEP"
        )


def check_name(kind: str, name: Any) -> None:
    """Refuse a name that no step can have.

    Raises:
        InvalidStep: It is no text of 1 to 200 characters that PostgreSQL can store.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME or not is_storable(name):
        raise InvalidStep(
            f"{kind}: {shown(name)} is no name of a step: use text of 1 to {MOST_NAME} characters, without NUL"
        )
