"""The executor runs attempts: one task each, and one end each, handed to the ledger."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any
from uuid import UUID

import anyio

from asyncjobs.db.rows import Claimed, Finish, State
from asyncjobs.defining import context, registry
from asyncjobs.defining.base import CancelReason, Job
from asyncjobs.defining.definition import Definition
from asyncjobs.defining.errors import describe_error, storable
from asyncjobs.defining.performing import load_references, perform
from asyncjobs.exceptions import Cancel, Discard
from asyncjobs.worker.attempts import Attempt
from asyncjobs.worker.ledger import Ledger
from asyncjobs.worker.pools import Pool

logger = logging.getLogger("asyncjobs.worker")

STARTS_A_TURN = 64
"""Tasks started in one turn of the loop (about 1 ms), so that what is urgent is not behind a whole batch."""


STALE = 0.25
"""Seconds without a start in a pool after which what waits there is given back: other workers may have free slots."""


class Executor:
    """Starts claimed jobs in pool order as slots allow, and says how each ended.

    Args:
        pools: In priority order.
        ledger: Where ends go.
        retention: Seconds that a finished job is kept when its definition does not say.
        on_room: Called when a pool has fewer jobs waiting than it could start soon.
    """

    def __init__(self, pools: Sequence[Pool], ledger: Ledger, retention: float, on_room: Callable[[], None]) -> None:
        self._pools = pools
        self._ledger = ledger
        self._default_days = math.ceil(retention / 86_400)
        self._on_room = on_room
        self._loop = asyncio.get_running_loop()
        self._attempts: dict[UUID, Attempt] = {}
        self._scheduled = False
        self._watch: asyncio.TimerHandle | None = None
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._in_threads: set[UUID] = set()
        """Jobs whose threads go on; they outlive their tasks when the loop is closed under them."""
        # Slots bound the threads. A `def` job that awaits another gives back its slot and keeps its thread: with as many
        # threads as slots, parents would keep their children from starting.
        self._threads = anyio.CapacityLimiter(math.inf)

    @property
    def running(self) -> int:
        """Attempts that are going on."""
        return len(self._attempts)

    def imminent(self) -> int:
        """Jobs claimed and not yet started."""
        return sum(len(pool.queued) for pool in self._pools)

    def accept(self, pool: Pool, claimed: Iterable[Claimed]) -> None:
        """Take claimed jobs in, in the order they are to run."""
        if self._stopped:
            for job in claimed:
                self._ledger.release(job.id, job.fence)
            return
        pool.queued.extend(claimed)
        if self._watch is None:
            self._watch = self._loop.call_later(STALE, self._give_back_stale)
        self.schedule()

    def _give_back_stale(self) -> None:
        """Release what was claimed ahead of jobs that turn out long: it could wait for hours while other workers idle."""
        self._watch = None
        for pool in self._pools:
            if pool.queued and not pool.progressed():
                self._release(pool)
        if any(pool.queued for pool in self._pools):
            self._watch = self._loop.call_later(STALE, self._give_back_stale)

    def _release(self, pool: Pool) -> None:
        while pool.queued:
            claimed = pool.queued.popleft()
            self._ledger.release(claimed.id, claimed.fence)

    def schedule(self) -> None:
        """Start what can be started, in the loop's next turn."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        budget = STARTS_A_TURN
        for pool in self._pools:
            while pool.can_start:
                if budget == 0:
                    self.schedule()
                    return
                budget -= 1
                self._start_one(pool, pool.take_next())
            if pool.hungry and not pool.claiming and pool.wanted():
                self._on_room()

    def _start_one(self, pool: Pool, claimed: Claimed) -> None:
        attempt = Attempt(claimed, pool, self.schedule)
        self._attempts[claimed.id] = attempt
        self._idle.clear()
        attempt.task = self._loop.create_task(self._run(attempt))

    async def _run(self, attempt: Attempt) -> None:
        """Run one attempt in its own task and hand its end over. Nothing a job raises leaves here."""
        attempt.begun = True
        claimed = attempt.claimed
        definition = registry.find(claimed.kind)
        try:
            if attempt.cancel_reason is None:
                self._end(attempt, await self._perform(attempt, definition))
            else:
                self._end_unspent(attempt)
        except BaseException as error:
            # SystemExit, KeyboardInterrupt and GeneratorExit too: let out of a task, each of them ends the loop.
            self._end_by_error(attempt, definition, error)
        finally:
            self._attempts.pop(claimed.id, None)
            if not self._attempts:
                self._idle.set()
            attempt.end()

    async def _perform(self, attempt: Attempt, definition: Definition | None) -> Finish:
        """Decode, run and encode: what is wrong with one row is met inside its own task."""
        claimed = attempt.claimed
        if definition is None:
            raise LookupError(f"kind {claimed.kind!r} was claimed and is not defined here any more")
        job = definition.load(claimed.args)
        job._id, job._queue, job._priority = claimed.id, claimed.queue, claimed.priority
        job._sent, job._state, job._attempt = True, "running", attempt
        context.running.set(job)
        if definition.arguments.has_references:
            await load_references(job)
        result = await (job.perform() if definition.is_async else self._in_thread(job))
        text = None if result is None else definition.result.dump(result)
        return Finish(claimed.id, claimed.fence, State.succeeded, text, None, None, self._days(definition))

    def _in_thread(self, job: Job[Any]) -> Coroutine[Any, Any, Any]:
        return perform(job, limiter=self._threads, going_on=self._in_threads)

    def _end(self, attempt: Attempt, finish: Finish) -> None:
        if attempt.cancel_reason != "lease_lost":
            self._ledger.finish(finish)

    def _end_unspent(self, attempt: Attempt) -> None:
        if attempt.cancel_reason != "lease_lost":
            self._ledger.release(attempt.claimed.id, attempt.claimed.fence)

    def _end_by_error(self, attempt: Attempt, definition: Definition | None, error: BaseException) -> None:
        claimed = attempt.claimed
        if attempt.cancel_reason is not None and isinstance(error, asyncio.CancelledError):
            self._end_unspent(attempt)
            return
        days = self._days(definition)
        if isinstance(error, Discard | Cancel):
            state = State.discarded if isinstance(error, Discard) else State.cancelled
            finish = Finish(claimed.id, claimed.fence, state, None, None, storable(str(error.reason)), days)
            logger.info("%s %s %s: %s", claimed.kind, claimed.id, state.name, error.reason)
        else:
            text = describe_error(error, attempt=claimed.attempt)
            finish = Finish(claimed.id, claimed.fence, State.failed, None, text, None, days)
            logger.error("%s %s failed: %s: %.500s", claimed.kind, claimed.id, type(error).__name__, error_text(error))
        self._end(attempt, finish)

    def _days(self, definition: Definition | None) -> int:
        if definition is None or definition.options.retention is None:
            return self._default_days
        return math.ceil(definition.options.retention / 86_400)

    # Stopping

    def stop(self) -> None:
        """Start no more: what was claimed is given back unspent, and running jobs are told to come to an end."""
        self._stopped = True
        for pool in self._pools:
            self._release(pool)
        for attempt in self._attempts.values():
            attempt.stopping = True

    def cancel_all(self, reason: CancelReason) -> None:
        """Cancel every attempt: `shutdown` releases them unspent, `lease_lost` writes nothing more."""
        for attempt in list(self._attempts.values()):
            attempt.cancel(reason)

    def drop_waiting(self) -> None:
        """Forget what was claimed and has not started: its lease is lost."""
        for pool in self._pools:
            pool.queued.clear()

    def outlasts(self) -> bool:
        """Whether code of a job goes on here; from any thread. When the loop is closed, only threads do."""
        return bool(self._in_threads or (self._attempts and not self._loop.is_closed()))

    def holds(self) -> set[UUID]:
        """Return the jobs that are here, running or about to start."""
        return {*self._attempts, *(claimed.id for pool in self._pools for claimed in pool.queued)}

    async def idle(self) -> None:
        """Wait until no attempt is going on."""
        await self._idle.wait()

    def left(self) -> list[Claimed]:
        """Return the rows of attempts that are still going on."""
        return [attempt.claimed for attempt in self._attempts.values()]


def error_text(error: BaseException) -> str:
    """Return an exception's message, whatever its `__str__` does."""
    try:
        return str(error)
    except Exception:
        return "<unreadable>"
