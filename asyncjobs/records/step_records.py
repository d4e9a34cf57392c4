"""What is recorded of a job's steps, and whether the code that runs now still fits it."""

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
"""An event and its key, of 200 characters each, are the name of a wait."""


class Record(NamedTuple):
    """What is recorded of one step."""

    n: int
    """In the order in which the job met it, from 1."""
    name: str
    state: StepState
    result: str | None = None
    """JSON of what it returned, or of the event's payload."""
    cursor: str | None = None
    """JSON of how far it got."""
    remaining: float | None = None
    """Seconds left of a sleep or a wait when this was read; None: as long as it takes, or it is neither."""
    children: str | None = None
    """JSON of the jobs that it runs; None: it runs none, but code."""
    form: StepForm = "code"
    """What it was when it was recorded."""


class Write(NamedTuple):
    """What is to be recorded: where a step stands, and the job's attributes."""

    n: int = 0
    name: str | None = None
    """None: the attributes alone."""
    state: StepState = "started"
    result: str | None = None
    """JSON of what it returned."""
    cursor: str | None = None
    """JSON of how far it got."""
    error: str | None = None
    """JSON of the error that was handled."""
    age: float = 0.0
    """Seconds since it began."""
    attributes: str | None = None
    """JSON of the job's attributes; None: as they are."""
    children: str | None = None
    """JSON of the jobs that it runs; None: it runs none, but code."""


class Recorder(Protocol):
    """Writes what is recorded of one attempt's steps; it has a task that the job's code has no handle on."""

    def write(self, write: Write) -> Awaitable[None]:
        """Have it recorded, whether or not anybody waits or stops waiting; done when it is durable.

        Raises:
            LeaseLost: Another worker has the job; nothing was recorded.
            DatabaseError: The database refuses it.
        """

    async def transact(
        self, body: Callable[[Any], Awaitable[Write]], *, through_sqlalchemy: bool = False, lends: bool = True
    ) -> None:
        """Run an isolated step: `body` in a transaction that also records what it returns, both or neither.

        Args:
            body: Given a connection; what it raises is raised, and the transaction rolled back. Called again, a few times,
                if the database undoes the transaction because of others (40001, 40P01).
            through_sqlalchemy: The connection is SQLAlchemy's, not asyncpg's.
            lends: Whether the step's code is given the connection: then its session is cleaned afterwards.

        Raises:
            LeaseLost: Another worker has the job; nothing was committed.
            Interrupted: The database went away before the commit: the step is to run again.
        """

    async def begin_wait(
        self, record: Record, *, event: str | None, key: str, seconds: float | None, attributes: str | None
    ) -> Record:
        """Begin a wait for a time (`event` None) or an event, or find it begun; return what is recorded by now."""

    async def load(self) -> list[Record]:
        """Return what earlier attempts have recorded, in its order."""

    async def settled(self) -> None:
        """Wait until nothing is under way."""


class Progress:
    """The steps of one job: those recorded by earlier attempts, and those this attempt has met.

    Args:
        kind: For messages.
        records: In their order.
    """

    def __init__(self, kind: str, records: Sequence[Record] = ()) -> None:
        self._kind = kind
        self._recorded = sorted(records)
        self._by_number = {record.n: record for record in self._recorded}
        self._numbers = {record.name: record.n for record in self._recorded}
        self.met: dict[str, None] = {}

    @property
    def recorded(self) -> list[Record]:
        """What earlier attempts have left, in its order."""
        return self._recorded

    def meet(self, name: str, *, formerly: Iterable[str] = (), code: Sequence[str] = ()) -> Record | None:
        """Note that the code has come to a step; return what is recorded of it.

        Args:
            name: Its name.
            formerly: Names it was recorded under by earlier versions of the code.
            code: The names of all steps of the code, as far as they are known, for the message.

        Raises:
            InvalidStep: The name cannot be one, the step was met already, or it is not the one that was recorded here.
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
        # One that has failed, and whose error the code has caught, is not recorded, and those after it are.
        if found is None and (elsewhere := [known for known in names if known in self._numbers]):
            self._refuse(names[0], f"recorded {elsewhere[0]!r} as number {self._numbers[elsewhere[0]]}", code, number)
        return found

    def recorded_as(self, number: int) -> str | None:
        """Return the name under which the step with a number was recorded; None: it was not."""
        record = self._by_number.get(number)
        return None if record is None else record.name

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is recorded beyond the step that was met last."""
        return not self._recorded or self._recorded[-1].n <= len(self.met)

    @property
    def next_number(self) -> int:
        """The number of the step that was met last; 0: none was."""
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
    """Refuse what cannot be a step's name.

    Raises:
        InvalidStep: No text of 1 to 200 characters that PostgreSQL can store.
    """
    if not isinstance(name, str) or not 1 <= len(name) <= MOST_NAME or not is_storable(name):
        raise InvalidStep(
            f"{kind}: {shown(name)} is no name of a step: use text of 1 to {MOST_NAME} characters, without NUL"
        )
