"""The running attempt, for the code of a job: `current_attempt()` and `current_job()`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from asyncjobs.checks.foreign_texts import brief, log, message_of
from asyncjobs.checks.texts import cut, shown, written_out
from asyncjobs.checks.wrong_calls import answered
from asyncjobs.definitions.labels import meta_in, tags_in
from asyncjobs.exceptions import InsideEventLoop, NotRunning
from asyncjobs.jobs.running_batch import RunningBatch
from asyncjobs.performing import running_job
from asyncjobs.values.arguments import ValueCodec

if TYPE_CHECKING:
    from asyncjobs.jobs.job import Job
    from asyncjobs.performing.attempt import Attempt, CancelReason, Shows

logger = logging.getLogger("asyncjobs.worker")

MOST_NOTE = 500
"""Characters of a note."""
_items = ValueCodec("send()", Any, "item", annotatable=False)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CurrentAttempt:
    """The running attempt. It is apart from `Job`, so that a job may have fields of any of these names."""

    __slots__ = ("_attempt", "_job")

    def __init__(self, job: Job[Any], attempt: Attempt) -> None:
        self._job = job
        self._attempt = attempt

    @property
    def job(self) -> Job[Any]:
        """The running job."""
        return self._job

    @property
    def number(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.number

    @property
    def meta(self) -> dict[str, str]:
        """The job's meta, as `set(meta=…)` gave it."""
        return meta_in(self._attempt.claimed.labels)

    @property
    def tags(self) -> tuple[str, ...]:
        """The job's tags, as `set(tags=…)` gave them."""
        return tags_in(self._attempt.claimed.labels)

    @property
    def batch(self) -> RunningBatch | None:
        """The batch of the job, to which it may add jobs; None: it has no batch."""
        batch = self._attempt.claimed.batch
        return None if batch is None or self._attempt.row is None else RunningBatch(batch, self._job)

    @property
    def scheduled_for(self) -> datetime | None:
        """The time of the schedule that enqueued this job, in UTC; None: no schedule did.

        It is the same on every attempt, however late the job runs and whatever `jitter` added. For a recurring job that was
        run by hand it is the time of that call.
        """
        tick = self._attempt.claimed.tick
        return None if tick is None else _EPOCH + timedelta(microseconds=round(Decimal(tick) * 1_000_000))

    @property
    def stopping(self) -> bool:
        """Whether the job should come to an end: its worker is stopping, or the job was cancelled."""
        return self._attempt.stopping

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the job was cancelled; None: it was not."""
        return self._attempt.seen_reason

    @answered(remedy='what is done comes first, the rest goes by name: `progress(3, of=40, note="pages")`')
    def progress(self, done: float, *, of: float | None = None, note: str = "") -> None:
        """Show how far the job has come: in `AsyncJobs.watch`, in its status, and wherever people look.

        It takes a microsecond, from any thread, and neither fails nor delays the job. The latest is written, at most five
        times a second; what is no number, or has no text, is logged and left out. It stays with the finished job. A job that
        `perform_now` runs shows it for the job that has called; in a program it is shown nowhere.

        Args:
            done: What is done, in any unit.
            of: The number at which all is done; None: it is not known.
            note: What the job is doing; of more than 500 characters the first.
        """
        if (attempt := self._attempt.showing) is None:
            return
        try:
            shown_done, shown_of = _number("done", done), None if of is None else _number("of", of)
            text = written_out(cut(str(note), MOST_NOTE))
        except Exception as error:  # of a note's class, too
            if not attempt.warned_of_progress:
                attempt.warned_of_progress = True
                why = brief(message_of(error))
                log(logger, logging.WARNING, "%s %s: its progress is left out: %s", self._job.kind, self._job.id, why)
        else:
            _shows(attempt).show(shown_done, shown_of, text)

    @answered(remedy="give the item: `await current_attempt().send(value)`")
    async def send(self, value: Any) -> None:
        """Add an item to the job's stream, which `AsyncJobs.stream` reads from any process.

        Items are durable before the attempt ends; this waits only while 1,000 of them, or 8 MiB, are unwritten. After a
        retry or a crash the stream goes on; an item tells its attempt. In a thread use `send_from_thread`.

        A call without `await` sends nothing, and Python warns of it with the line that it is in.

        Args:
            value: Plain JSON, at most 1 MiB.

        Raises:
            UnstorableResult: `value` cannot be stored.
            DatabaseError: The database refuses an earlier item.
            NotRunning: The attempt has ended.
            LeaseLost: The job is another worker's by now.
        """
        text = _items.dump(value) or "null"
        if (attempt := self._attempt.showing) is None:
            return
        if attempt.shows is not None and asyncio.get_running_loop() is not attempt.shows.loop:
            raise NotRunning("send() was called on another event loop than the job's: call send_from_thread(value)")
        await _shows(attempt).send(text)

    @answered(remedy="give the item: `current_attempt().send_from_thread(value)`")
    def send_from_thread(self, value: Any) -> None:
        """Add an item to the job's stream from a thread, such as that of a `def` job; see `send`.

        Raises:
            InsideEventLoop: The calling thread runs the job's event loop.
        """
        text = _items.dump(value) or "null"
        attempt = self._attempt.showing
        if attempt is None or attempt.shows is None:
            return
        loop = attempt.shows.loop
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            raise InsideEventLoop(
                "send_from_thread() was called on the job's event loop: write `await current_attempt().send(value)`"
            )
        asyncio.run_coroutine_threadsafe(_shows(attempt).send(text), loop).result()

    def __repr__(self) -> str:
        return f"<attempt {self.number} of {self._job.kind} {self._job.id}>"


def _shows(attempt: Attempt) -> Shows:
    if attempt.shown is None:
        assert attempt.shows is not None
        return attempt.shows.of(attempt)
    return attempt.shown


def _number(name: str, value: Any) -> float:
    """Return a value in which progress is told, as it is stored.

    Raises:
        ValueError: It is no finite number.
    """
    if not isinstance(value, bool) and isinstance(value, (Real, Decimal)):
        with contextlib.suppress(OverflowError, ValueError):
            number = float(value)
            if math.isfinite(number):
                return number
    raise ValueError(f"{name}={shown(value)} is no finite number")


def current_job() -> Job[Any]:
    """Return the running job, also in a task, a thread or a callback that it started.

    Raises:
        NotRunning: Outside any job.
    """
    job = running_job.running.get()
    if job is None:
        raise NotRunning("no job is running here: current_job() works inside a job's own code")
    return cast("Job[Any]", job)


def current_attempt() -> CurrentAttempt:
    """Return the running attempt, also in a task, a thread or a callback that the job started.

    Raises:
        NotRunning: Outside any job.
    """
    job = running_job.running.get()
    attempt = None if job is None else job._attempt
    if job is None or attempt is None:
        raise NotRunning("no job is running here: current_attempt() works inside a job's own code")
    return CurrentAttempt(cast("Job[Any]", job), attempt)
