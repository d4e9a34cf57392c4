"""The run of a job that is going on, as the job sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from asyncjobs.defining.recorded import Recorder

CancelReason = Literal["user", "timeout", "shutdown", "lease_lost"]


class Attempt(Protocol):
    """The run of a job that is going on, as the job sees it."""

    number: int
    stopping: bool

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
