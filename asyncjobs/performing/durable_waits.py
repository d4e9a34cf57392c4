"""Durable waits: for a time or an event, without a slot, across restarts."""

from __future__ import annotations

from typing import Any

from asyncjobs.exceptions import InvalidStep
from asyncjobs.failing.control_exceptions import Parked
from asyncjobs.performing.step_log import StepLog
from asyncjobs.records.step_records import ENDED, Record, StepForm, Write
from asyncjobs.values import codec


class Waits:
    """The durable waits of one attempt, each of them a step."""

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self._late: tuple[TimeoutError, int, str] | None = None
        """The error of a wait whose event did not come in time, with the wait's number and name."""

    async def wait(self, name: str, *, event: str | None, key: str = "", seconds: float | None) -> Any:
        """Wait for a time or an event: the run ends here unless the wait is over.

        Raises:
            TimeoutError: The event did not come in time.
        """
        self._log.check_going_on()
        try:
            return await self._wait(name, event, key, seconds)
        except InvalidStep as error:
            self._log.attempt.end_by(error)
            raise

    async def _wait(self, name: str, event: str | None, key: str, seconds: float | None) -> Any:
        log = self._log
        form: StepForm = "sleep" if event is None else "wait"
        record = log.meet(name, form)
        if record is None or record.state not in ENDED:
            log.check()
            if record is None:
                record = Record(log.progress.next_number, name, "sleeping" if event is None else "waiting", form=form)
            text = log.attributes()
            # Also for a wait that has begun: only the database, with its clock and its events, can say whether it is over.
            record = await log.recorder.begin_wait(record, event=event, key=key, seconds=seconds, attributes=text)
            log.saved(text)
        match record.state:
            case "sleeping" | "waiting":
                raise log.attempt.end_by(Parked(record.remaining, on_event=event is not None, kind=log.kind, step=name))
            case "timed_out":
                late = TimeoutError(f"no event {event!r} came in time")
                self._late = (late, record.n, name)
                raise late
        return None if record.result is None else codec.loads(record.result)

    def wait_again(self, error: BaseException | None) -> None:
        """Have the next attempt wait anew for an event that did not come in time, if its error ended this attempt.

        Left as recorded, the error would end every attempt at once. If the code caught it and went on, the record stays: the
        next attempt must not take another way.
        """
        if self._late is None:
            return
        late, number, name = self._late
        if number == self._log.progress.next_number and _comes_from(error, late):
            self._log.recorder.write(Write(number, name, "failed"))


def _comes_from(error: BaseException | None, cause: BaseException) -> bool:
    """Whether an error is another, was raised from it, or is a group that holds such an error."""
    if isinstance(error, BaseExceptionGroup):
        return any(_comes_from(leaf, cause) for leaf in error.exceptions)
    return error is not None and (error is cause or _comes_from(error.__cause__, cause))
