"""`Jobs`: an open AsyncJobs for tests, which performs, interrupts and cuts jobs, with assertions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from asyncjobs.client.job_rows import check_job
from asyncjobs.client.statuses import definition_of
from asyncjobs.db import test_kit as db
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.job import Job
from asyncjobs.testing.asserting import Asserting, Kind
from asyncjobs.testing.crashing import HOWS, Crashing, Tried
from asyncjobs.testing.cuts import How
from asyncjobs.testing.interrupting import ANYWHERE, Interruption
from asyncjobs.testing.performing import Performing

if TYPE_CHECKING:
    from uuid import UUID

R = TypeVar("R")


class Jobs(Asserting):
    """An open `AsyncJobs` with assertions; the fixture `jobs`.

    It is open on every event loop on which it is used, and the code under test enqueues through it unless it opens an
    `AsyncJobs` of its own. Nothing runs before `perform_enqueued` or `perform`, except inside ``async with
    jobs.running():``, where a worker runs jobs. In every assertion, arguments of the job are given by name; an argument
    that is named like an option of the assertion goes into ``args={…}``.
    """

    async def perform_enqueued(
        self, kind: Kind | Collection[Kind] | None = None, *, queue: str | Collection[str] | None = None
    ) -> int:
        """Run ready and due jobs on this loop, one after the other, and jobs that they enqueue, until none is left.

        Arguments are read from the database, policies and callbacks apply, results are stored. A retry runs when it is due:
        `travel` first. Errors of jobs are stored and logged, not raised; check them with `assert_performed`.

        Args:
            kind: Only jobs of this kind, or of these; None: all.
            queue: Only jobs of this queue, or of these; None: all.

        Returns:
            The number of attempts.

        Raises:
            AssertionError: A job waits for another that is not due, or jobs enqueue each other without end.
        """
        many = isinstance(kind, Collection) and not isinstance(kind, str)
        given: Any = None if kind is None else (kind if many else [kind])
        kinds = given and {n for k in given for d in [definition_of(k)] for n in (d.kind, *d.aliases)}
        queues = [queue] if isinstance(queue, str) else queue
        return await (await self._performing()).drain(kinds, queues)

    async def perform(self, job: Job[R]) -> R | None:
        """Run one attempt of one job now, enqueued or not, due or not, and return the job's result.

        Returns:
            None also when the job is not final after this: it will be retried, was interrupted, or waits.

        Raises:
            JobFailed, JobDiscarded, JobCancelled: The job ended so.
            AssertionError: A worker runs it.
        """
        check_job(job, "perform")
        if not job._sent:
            await self._client().enqueue(job)
        performing = await self._performing()
        await performing.run(lambda connection: db.hurry(connection, job.id))
        await performing.one(job.id)
        status = await self.status(job.id)
        if status.final:
            result: R = await self._client().result(job, timeout=None)
            return result
        if status.state == "running":
            raise AssertionError(f"{job.kind} {job.id} is running in a worker: it cannot be performed here")
        return None

    async def travel(self, by: timedelta | None = None, /, **duration: float) -> int:
        """Bring everything closer that is in the future. Nothing is run.

        That is due times, sleeps and waits of steps, expiry, the windows of unique keys and the ends of pauses.

        ::

            await jobs.travel(hours=1)

        The times in the database move; Python's clock and the database's are left alone.

        Args:
            by: How far into the future.
            duration: Instead of `by`, the arguments of `timedelta`: `days`, `hours`, `minutes`, `seconds`, ….

        Returns:
            The number of jobs that are not final and were moved.

        Raises:
            InvalidOption: The duration is not above zero.
        """
        try:
            distance = timedelta(**duration) if by is None else by
        except (TypeError, OverflowError) as error:
            raise InvalidOption(f"travel takes what timedelta takes, such as hours=1: {error}") from error
        if not isinstance(distance, timedelta) or distance <= timedelta(0) or (by is not None and duration):
            raise InvalidOption("travel takes one duration above zero, such as hours=1: there is no way back")
        performing = await self._performing()
        return await performing.run(lambda connection: db.travel(connection, distance.total_seconds()))

    async def _performing(self) -> Performing:
        return await self._here().performing()

    # Interrupting

    def interrupt_during(self, target: Kind | Job[Any], step: str, *, cursor: Any = ANYWHERE) -> Interruption:
        """Interrupt runs inside a step, as a stopping worker does: the job stays `ready` and no attempt is spent.

        ::

            async with jobs.interrupt_during(ImportFile, "rows", cursor=500):
                await jobs.perform_enqueued()

        A step with a cursor ends at its first checkpoint; a step without one is cancelled where it first waits. Inside the
        block an interrupted job is not run again. Awaited instead, this performs the job, or the jobs of the kind, itself.

        Args:
            target: A kind, or one job.
            step: The step's name.
            cursor: The value of the cursor at which to interrupt; left out: at the first checkpoint.

        Raises:
            AssertionError: At the end of the block: no run came to that place.
            InvalidOption: There is no such step.
        """
        return self._interruption(target, step, after=False, cursor=cursor)

    def interrupt_after(self, target: Kind | Job[Any], step: str) -> Interruption:
        """Interrupt runs between a step and the next one or the next wait; see `interrupt_during`."""
        return self._interruption(target, step, after=True, cursor=ANYWHERE)

    def _interruption(self, target: Any, step: str, **how: Any) -> Interruption:
        async def perform() -> None:
            await (self.perform(target) if isinstance(target, Job) else self.perform_enqueued(target))

        return Interruption(self._performing, perform, target, step, **how)

    async def crash_everywhere(
        self,
        make: Callable[[], Any],
        *,
        reset: Callable[[], Any],
        observe: Callable[[], Any],
        how: Sequence[How] | How = HOWS,
        limit: int | None = None,
        only: tuple[How, int] | None = None,
        in_child: Callable[[], Any] | None = None,
    ) -> Tried:
        """Prove a job safe: cut it everywhere, resume it, and compare its effects with those of a clean run.

        After `reset()`, the job of `make()` runs clean; then repeatedly, each time cut at the next place and resumed to its
        end, until a run comes to no further place. Places are every suspension in any task of the job, with all that it
        awaits, and every checkpoint, before it is written and after it with the answer lost. ``"kill"`` is SIGKILL of a
        forked child when a wait has ended: its effect is there, and the job does not know. ``"cancel"`` cancels the job's
        task, as a stopping worker does, where a wait begins and where it has ended.

        Durable sleeps end at once. `asyncio.sleep` takes its time, in each run: leave it out, or make it short, in the test.

        This job is not safe, and is caught: killed after the charge, it charges again::

            @job
            async def charge(order_id: int) -> None:
                await bank.charge(order_id)
                await mark_paid(order_id)

            await jobs.crash_everywhere(lambda: charge(1), reset=new_order, observe=read_charges)

        Safe would be a step with `isolated=True`, or an idempotency key for the bank.

        Args:
            make: Returns a new job, not enqueued. It, `reset` and `observe` may be `def` or `async def`.
            reset: Brings everything but the jobs back to the beginning. All jobs are removed, too.
            observe: Reads **stored** state, from a database or files: a killed process's memory is gone.
            how: One or both.
            limit: The most places for each of `how`; None: all.
            only: Repeat one case, as the failure's message says: how, and the number of the place.
            in_child: Called first in each forked child, where connections opened before do not work: opens them anew, for
                example ``lambda: engine.dispose(close=False)``. A job that opens its own connections needs none.

        Returns:
            The number of places. Its `in_threads` is the number of those that wait for a thread, such as a `def` step:
            inside the thread nothing is cut, so this proves nothing about that code; it is printed, too.

        Raises:
            AssertionError: A cut made a difference: the place, the difference, and the call that repeats this case alone. Or
                the clean run does not succeed, or is not the same twice.
            InvalidOption: `make` or `observe` returned an unusable value.
        """
        hows: tuple[How, ...] = (how,) if isinstance(how, str) else tuple(how)
        if not hows or not set(hows) <= set(HOWS):
            raise InvalidOption(f'how={how!r} is not known: use "kill", "cancel" or both')
        here = self._here()

        async def in_a_child(worker: UUID) -> Performing:
            return await self._here().new_performing(worker)

        crashing = Crashing(
            here.client, await here.performing(), in_a_child, make, reset=reset, observe=observe, in_child=in_child
        )
        return await crashing.run_all(hows, limit, only)
