"""A worker's answers to probes, given in the keeper's thread, so that they come while a job blocks the event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, NamedTuple

from asyncjobs.metrics.counting import Metrics
from asyncjobs.probes.answers import LIVEZ, METRICS, NOT_IMPLEMENTED, OK, READYZ, Answer, Answers, said
from asyncjobs.probes.relay import answer_all
from asyncjobs.probes.responder import Responder
from asyncjobs.probes.service_manager import ServiceManager
from asyncjobs.worker.watching.watchdog import Watchdog

logger = logging.getLogger("asyncjobs.probes")

LOOK_AGAIN = 0.3
"""Seconds after which a loop that seems dead is looked at again: after a sleep of the machine its pulse needs a moment."""
NO_METRICS = Answer(
    NOT_IMPLEMENTED, b"there are no metrics here without prometheus_client: pip install 'asyncjobs-pg[prometheus]'\n"
)


class Outside(NamedTuple):
    """What asks after a worker.

    Attributes:
        listening: A socket on which probes are answered; None: there is none.
        supervisor: The socket over which the supervisor asks; None: it does not.
        service_manager: Is told as long as the event loop lives; None: there is none.
    """

    listening: socket.socket | None = None
    supervisor: socket.socket | None = None
    service_manager: ServiceManager | None = None


class Probes:
    """The answers of one worker.

    Args:
        watchdog: Knows whether the event loop lives.
        loop_dead: Seconds without a pulse after which it does not; 0: it always does.
        readiness: Returns why the worker is not ready, a sentence each, and facts to show. Called in the thread.
        metrics: What `/metrics` shows; None: nothing is counted.
    """

    def __init__(
        self,
        watchdog: Watchdog,
        loop_dead: float,
        readiness: Callable[[], tuple[list[str], Mapping[str, Any]]],
        metrics: Callable[[], Metrics | None],
    ) -> None:
        self._watchdog = watchdog
        self._loop_dead = loop_dead
        self._readiness = readiness
        self._metrics = metrics
        self.answers: Answers = {LIVEZ: self.livez, READYZ: self.readyz, METRICS: self.metrics}

    async def livez(self) -> Answer:
        """Answer 503, with what blocks it, when the event loop is dead."""
        blocked = self._watchdog.blocked_for()
        if self._loop_dead and blocked > self._loop_dead:
            await asyncio.sleep(LOOK_AGAIN)
            blocked = self._watchdog.blocked_for()
            if blocked > self._loop_dead:
                return said(ok=False, loop_blocked=round(blocked, 3), by=self._watchdog.what_blocks())
        return said(ok=True, loop_blocked=round(blocked, 3))

    async def readyz(self) -> Answer:
        """Answer 503, with the reasons, when no jobs are claimed."""
        problems, facts = self._readiness()
        return said(ok=not problems, problems=problems, **facts)

    async def metrics(self) -> Answer:
        """Return the metrics in Prometheus's text format."""
        metrics = self._metrics()
        if metrics is None:
            return NO_METRICS
        from asyncjobs.metrics.prometheus import CONTENT_TYPE, JobsCollector, exposition

        return Answer(OK, exposition(JobsCollector(metrics)), CONTENT_TYPE)

    def beside(self, outside: Outside) -> list[Callable[[], Coroutine[Any, Any, object]]]:
        """Return what is to run in the thread for those who ask."""
        found: list[Callable[[], Coroutine[Any, Any, object]]] = []
        if outside.listening is not None:
            found.append(partial(Responder(self.answers).serve, outside.listening))
        if outside.supervisor is not None:
            found.append(partial(answer_all, outside.supervisor, self.answers))
        manager = outside.service_manager
        if manager is not None and manager.watchdog is not None:
            found.append(partial(feed, manager, manager.watchdog, self.livez))
        return found


async def feed(manager: ServiceManager, watchdog: float, livez: Callable[[], Coroutine[Any, Any, Answer]]) -> None:
    """Tell the service manager that this process is alive, twice in the time that it allows, as long as `livez` says so."""
    was_alive = True
    while True:
        found = await livez()
        if found.status == OK:
            manager.alive()
        elif was_alive:
            logger.error(
                "the service manager is told no more that this process is alive: %s", found.body.decode().strip()
            )
        was_alive = found.status == OK
        await asyncio.sleep(watchdog / 2)
