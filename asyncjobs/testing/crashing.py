"""`crash_everywhere`: a job is run repeatedly, each time cut at the next place and resumed, and its effects are compared."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import pprint
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self
from uuid import UUID, uuid4

from asyncjobs.checks.texts import shown
from asyncjobs.client.client import Client
from asyncjobs.client.stored_outcomes import read_status
from asyncjobs.db import jobs as db_jobs
from asyncjobs.db import test_kit as db
from asyncjobs.db import workers
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.job import Job
from asyncjobs.records.status import Status
from asyncjobs.testing.cuts import How, Watch
from asyncjobs.testing.forked import ABOUT_CONNECTIONS, Ended, fork
from asyncjobs.testing.performing import Performing

if TYPE_CHECKING:
    from asyncjobs.testing.waiting_points import Place

HOWS: tuple[How, ...] = ("kill", "cancel")
LEAST_LIMIT = 30.0
"""Seconds that a child gets at least; else ten times as long as the clean run."""
RESCUE_WITHIN = 10.0
"""Seconds for the server to notice that a killed process's sessions are gone."""


class Left(NamedTuple):
    """The effects of one run."""

    status: Status
    observed: Any


class Tried(int):
    """The number of places that were tried.

    Attributes:
        in_threads: How many of them wait for a thread, inside which nothing is cut.
    """

    in_threads: int

    def __new__(cls, places: int, in_threads: int) -> Self:
        """Return a number of places."""
        made = super().__new__(cls, places)
        made.in_threads = in_threads
        return made

    __str__ = int.__repr__

    def __repr__(self) -> str:
        threads = (
            f", {self.in_threads} of them waits for a thread, whose code is cut nowhere" if self.in_threads else ""
        )
        return f"{int(self)} places{threads}"


class Crashing:
    """One call of `crash_everywhere`; see `Jobs.crash_everywhere` for the arguments."""

    def __init__(
        self,
        client: Client,
        performing: Performing,
        performing_in_child: Callable[[UUID], Awaitable[Performing]],
        make: Callable[[], Any],
        *,
        reset: Callable[[], Any],
        observe: Callable[[], Any],
        in_child: Callable[[], Any] | None,
    ) -> None:
        self._client = client
        self._performing = performing
        self._performing_in_child = performing_in_child
        self._make, self._reset, self._observe, self._in_child = make, reset, observe, in_child
        self._job: Job[Any] | None = None
        self._limit = LEAST_LIMIT
        self._last_cut: Place | None = None
        self.clean: Left | None = None

    async def run_all(self, how: Sequence[How], limit: int | None, only: tuple[How, int] | None) -> Tried:
        """Cut at every place; return the number of places."""
        await self._run_clean(how if only is None else (only[0],))
        tried: list[Place] = []
        if only is not None:
            tried += filter(None, [await self._try(*only)])
        else:
            for each in how:
                number = 1
                while (limit is None or number <= limit) and (place := await self._try(each, number)) is not None:
                    number += 1
                    tried.append(place)
        found = Tried(len(tried), sum(place.in_thread for place in tried))
        if found.in_threads:
            print(f"crash_everywhere: {found!r}")
        return found

    # One run

    async def _begin(self) -> Job[Any]:
        await self._performing.run(partial(db.empty, workers=False))
        await self._bounded("reset", self._reset)
        job = await self._bounded("make", self._make)
        if not isinstance(job, Job):
            raise InvalidOption(f"make returned {shown(job)}: it must return a job, made anew at each call")
        if self._job is not None and job.id == self._job.id:
            raise InvalidOption("make returned the same job twice: it must make a new one at each call")
        await self._client.enqueue(job)
        self._job = job
        return job

    async def _finish(self, job: Job[Any]) -> Left:
        await _run_to_end(self._performing, job.id)
        observed = await self._bounded("observe", self._observe)
        if observed is None:
            raise InvalidOption("observe returned None: it must return state that is the same after every run")
        return Left(await _status(self._performing, job.id), observed)

    async def _bounded(self, name: str, function: Callable[[], Any]) -> Any:
        """Call a function of the test, and fail when it waits for ever."""
        try:
            async with asyncio.timeout(self._limit) as bound:
                return await _called(function)
        except TimeoutError as error:
            if not bound.expired():
                raise
            before = "" if self._last_cut is None else f"\nThe run before was cut at {self._last_cut}"
            raise AssertionError(
                f"{name}() has waited for {self._limit:.0f} s: does a connection that the job has opened and not closed "
                f"hold a lock? Have the job close it in `finally`, which a cancelled job does run{before}"
            ) from error

    async def _run_clean(self, how: Sequence[How]) -> None:
        started = time.monotonic()
        self.clean = await self._finish(await self._begin())
        self._limit = max(LEAST_LIMIT, 10 * (time.monotonic() - started))
        if self.clean.status.state != "succeeded":
            raise AssertionError(f"the clean run, cut nowhere, {_ending(self.clean.status)}")
        about = "observe() must return the same after every clean run: leave out times and random values"
        again = await self._finish(await self._begin())
        if not _same(self.clean.observed, again.observed):
            raise AssertionError(f"two clean runs differ; {about}\n{_difference(self.clean.observed, again.observed)}")
        if "kill" in how:
            job = await self._begin()
            ended, worker = await self._run_in_child(job, 0)
            await self._bury(worker, job.id)
            if ended.problem:
                raise AssertionError(f"the clean run failed in a forked child: {ended.problem}")
            again = await self._finish(job)
            if again.status.state != "succeeded" or not _same(self.clean.observed, again.observed):
                raise AssertionError(
                    f"a clean run in a forked child differs; {ABOUT_CONNECTIONS}\nThe job {_ending(again.status)}\n"
                    f"{_difference(self.clean.observed, again.observed)}"
                )

    async def _try(self, how: How, number: int) -> Place | None:
        """Cut at one place, compare and return the place; None when the run ended before it."""
        job = await self._begin()
        if how == "kill":
            ended, worker = await self._run_in_child(job, number)
            await self._bury(worker, job.id)
            place = ended.place
            if ended.problem:
                raise AssertionError(f"the run to be killed at place {number} failed: {ended.problem}")
        else:
            place = await self._run_cancelled(job, number)
        self._last_cut = place
        left = await self._finish(job)
        self._compare(how, number, place, left)
        return place

    async def _run_cancelled(self, job: Job[Any], number: int) -> Place | None:
        places: list[Place] = []

        def cut(place: Place) -> None:
            places.append(place)
            if watch.attempt is not None:
                watch.attempt.cancel("shutdown")

        watch = Watch(job.id, "cancel", number, cut)
        self._performing.watch = watch
        try:
            await _run_to_end(self._performing, job.id)
        finally:
            self._performing.watch = None
        return places[0] if places else None

    async def _run_in_child(self, job: Job[Any], number: int) -> tuple[Ended, UUID]:
        worker = uuid4()
        await self._performing.run(partial(db.hurry, job_id=job.id))
        await self._performing.promote()
        claimed = await self._performing.claim_for(worker, job.id)

        async def run(kill: Callable[[Place], NoReturn]) -> None:
            if self._in_child is not None:
                await _called(self._in_child)
            performing = await self._performing_in_child(worker)
            performing.watch = Watch(job.id, "kill", number, kill)
            await performing.run_claimed(claimed)
            await _run_to_end(performing, job.id)

        return await fork(run, limit=self._limit), worker

    async def _bury(self, worker: UUID, job_id: UUID) -> None:
        """Rescue the jobs of a killed child as those of any dead worker, without waiting for its lease."""
        await self._performing.run(partial(workers.end, worker=worker, how="SIGKILL"))
        end = time.monotonic() + RESCUE_WITHIN
        while True:
            # Rows that the dead process's sessions still lock are skipped until the server notices its end.
            await self._performing.run(partial(db_jobs.rescue, limit=1_000))
            status = await _status(self._performing, job_id)
            if status.state != "running":
                return
            await asyncio.sleep(0.002)
            if time.monotonic() > end:
                raise AssertionError(f"{status.kind} could not be rescued: a session holds a lock on its row")

    def _compare(self, how: How, number: int, place: Place | None, left: Left) -> None:
        clean = self.clean
        assert clean is not None
        same = _same(clean.observed, left.observed)
        if same and left.status.state == clean.status.state:
            return
        if place is None:
            raise AssertionError(
                f"a run that was cut nowhere differs from the first; observe() or the job is not the same each time\n"
                f"The job {_ending(left.status)}\n{_difference(clean.observed, left.observed)}"
            )
        cut = "killed by SIGKILL" if how == "kill" else "cancelled"
        ending = "" if left.status.state == clean.status.state else f"Resumed, the job {_ending(left.status)}\n"
        difference = "" if same else f"{_difference(clean.observed, left.observed)}\n"
        raise AssertionError(
            f"{left.status.kind} is not crash-safe: {cut} at {place}\n{ending}{difference}"
            f"This case alone: await jobs.crash_everywhere(…, only=({how!r}, {number}))"
        )


async def _run_to_end(performing: Performing, job_id: UUID) -> None:
    """Run a job, and jobs that are ready, until it is final; waits for a time are cut short."""

    async def is_live() -> bool:
        return not (await _status(performing, job_id)).final

    await performing.drain(hurried=is_live)
    status = await _status(performing, job_id)
    if not status.final:
        waits = (
            "it waits for an event: emit it in reset or make" if status.state == "waiting" else "nobody can run it here"
        )
        raise AssertionError(f"{status.kind} does not come to an end, it is {status.state}: {waits}")


async def _status(performing: Performing, job_id: UUID) -> Status:
    row = await performing.run(partial(db_jobs.read_status, job_id=job_id))
    if row is None:
        raise AssertionError(f"job {job_id} is gone: reset and observe must leave the tables of asyncjobs alone")
    return read_status(row)


async def _called(function: Callable[[], Any]) -> Any:
    result = function()
    return await result if inspect.isawaitable(result) and not isinstance(result, Job) else result


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _ending(status: Status) -> str:
    text = f"is {status.state}"
    if status.reason:
        text += f" ({status.reason})"
    if status.errors and status.state != "succeeded":
        last = status.errors[-1]
        text += f": {last.type}: {last.message}\n{last.traceback}".rstrip()
    return text


def _difference(clean: Any, seen: Any) -> str:
    lines = difflib.ndiff(pprint.pformat(clean).splitlines(), pprint.pformat(seen).splitlines())
    return "What observe() gave (- the clean run, + this one):\n" + "\n".join(f"  {line.rstrip()}" for line in lines)
