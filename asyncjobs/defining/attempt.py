"""The run of a job that is going on, as the job sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar
from uuid import UUID

from asyncjobs.defining.signals import Parked
from asyncjobs.exceptions import InvalidStep

if TYPE_CHECKING:
    from asyncjobs.defining.recorded import Recorder

E = TypeVar("E", bound=BaseException)

CancelReason = Literal["user", "timeout", "shutdown", "lease_lost", "exit"]
"""`exit`: a task that the job has started raised SystemExit or KeyboardInterrupt."""


class Latch:
    """What has ended a run, kept from the moment it is raised.

    A job's code may catch it (`except BaseException`, `finally: return`, `gather(…, return_exceptions=True)`, a library that
    does so). The run ends by it all the same: it is asked for where the next step begins, where a step is recorded, and
    where the attempt ends.
    """

    __slots__ = ("_ended_by",)

    def __init__(self) -> None:
        self._ended_by: BaseException | None = None

    def end_by(self, error: E) -> E:
        """Have the run end by an error, and return that, to be raised; the first one counts."""
        if self._ended_by is None:
            self._ended_by = error
        return error

    def check_going_on(self) -> None:
        """Raise what has ended the run, again."""
        if self._ended_by is not None and (error := self.end_of(None)) is not None:
            raise error

    def end_of(self, error: BaseException | None) -> BaseException | None:
        """Return what the run has ended with.

        Args:
            error: What its code has raised; None: it has returned.
        """
        ended = self._ended_by
        if not isinstance(ended, Parked):
            return error if ended is None else ended
        # What the code did in place of a sleep must not be done again and again: it is told, and does not sleep.
        return error or InvalidStep(
            f"{ended.kind}: its code has caught what ends the run at {ended.step!r}, a sleep or a wait, and has gone on: "
            "catch Exception around it, not BaseException, and return from no `finally`"
        )


class Attempt(Protocol):
    """The run of a job that is going on, as the job sees it."""

    number: int
    stopping: bool

    def end_by(self, error: E) -> E:
        """Have the run end by an error; see `Latch.end_by`."""

    def check_going_on(self) -> None:
        """Raise what has ended the run; see `Latch.check_going_on`."""

    @property
    def outermost(self) -> Attempt | None:
        """The worker's run inside which this is; None: it is inside none."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each declaration has taken an error of this job."""

    @property
    def recorder(self) -> Recorder:
        """Where its steps are recorded."""

    @property
    def row(self) -> tuple[UUID, int] | None:
        """Id and fence of the job that a worker runs here; None: none does, this is `perform_now` in a program."""

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why it was cancelled; None: it was not."""

    def give_slot_back(self) -> None:
        """Let another job run while this one waits."""

    async def take_slot(self) -> None:
        """Wait for a slot to go on in."""
