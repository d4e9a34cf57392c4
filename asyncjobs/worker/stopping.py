"""The end of a worker: running jobs may finish, then they are given back, and its lease ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial

from asyncjobs.db import workers
from asyncjobs.exceptions import DatabaseError
from asyncjobs.tasks.services import Services
from asyncjobs.worker.parts import Parts

logger = logging.getLogger("asyncjobs.worker")

LAST_WRITES = 2.0
"""Seconds, at the very end, for the last ends of jobs to be written, and then for the end of the worker."""


class Stopping:
    """The two phases in which a worker stops.

    Args:
        parts: The worker's services.
        services: The scope in which that goes on which outlasts the worker's own run.
        keeper: Renews the lease, until it is cancelled here.
    """

    def __init__(self, parts: Parts, services: Services, keeper: asyncio.Task[None]) -> None:
        self._parts = parts
        self._services = services
        self._keeper = keeper

    async def let_finish(self, at_once: asyncio.Event) -> None:
        """Phase one: jobs that have not started or wait for others are given back, the rest may finish, until `at_once`."""
        waiting = self._parts.executor.stop()
        if waiting:
            logger.info("stopping: %d jobs that wait for other jobs are given back", waiting)
        if running := self._parts.executor.running - waiting:
            logger.info("stopping: %d jobs may finish within %g s", running, self._parts.settings.shutdown_timeout)
        now = asyncio.ensure_future(at_once.wait())
        idle = asyncio.ensure_future(self._parts.executor.idle())
        await asyncio.wait(
            [now, idle], timeout=self._parts.settings.shutdown_timeout, return_when=asyncio.FIRST_COMPLETED
        )
        now.cancel()
        idle.cancel()

    async def end(self) -> None:
        """Phase two, also after an error: running jobs are cancelled and given back, then the lease ends."""
        self._parts.executor.stop()
        # Cancelled jobs record their steps before they are given back; the recorder ends when the sessions are closed.
        self._services.start(self._parts.recorder.run(), name="last steps")
        self._services.start(self._parts.live.run(), name="last items of streams")
        if self._parts.executor.running:
            logger.warning("cancelling %d jobs: they are released and run elsewhere", self._parts.executor.running)
            self._parts.executor.cancel_all("shutdown")
            idle = asyncio.ensure_future(self._parts.executor.idle())
            await asyncio.wait([idle], timeout=min(self._parts.settings.cleanup_timeout, LAST_WRITES))
            idle.cancel()
        await self._write_out()
        self._parts.executor.close()
        for claimed in self._parts.executor.left():
            logger.error(
                "%s %s ignores its cancellation: it runs nowhere else until it ends, or this process does",
                claimed.kind,
                claimed.id,
            )
        if self._parts.executor.running:
            await self._spare()
            self._services.start(self._outlast(), name="lease of jobs that ignore their cancellation")
        else:
            await self._give_up_lease()

    async def _spare(self) -> None:
        """Have no crash charged to the jobs that go on when this process ends: a web server's ends for its own reasons."""
        worker = self._parts.lease.worker
        with contextlib.suppress(DatabaseError):
            if worker is not None:
                await self._parts.keeping_house.run(partial(workers.spare, worker=worker), deadline=LAST_WRITES)

    async def _write_out(self) -> None:
        try:
            await self._parts.ledger.write_out(LAST_WRITES)
            with contextlib.suppress(TimeoutError, DatabaseError):  # else another worker looks, or the next that starts
                async with asyncio.timeout(LAST_WRITES):
                    await self._parts.batch_finisher.look(at_once=True)
        except Exception:
            # Perhaps the error that ended the worker. The lease must end all the same: else its jobs are not rescued.
            logger.exception("the ends of the last attempts could not be written: these jobs run again elsewhere")

    async def _outlast(self) -> None:
        try:
            await self._parts.executor.idle()
            await self._write_out()
            await self._give_up_lease()
        finally:
            self._parts.job_processes.forking.close()
            self._parts.close_sessions()  # also when the client is closed first: then the keeper's thread alone goes on

    async def _give_up_lease(self) -> None:
        self._parts.job_processes.forking.close()
        await self._parts.job_processes.forking.ended()
        worker, self._parts.lease.worker = self._parts.lease.worker, None
        self._keeper.cancel()
        await asyncio.wait([self._keeper], timeout=LAST_WRITES)
        if worker is not None:
            try:
                await self._parts.keeping_house.run(partial(workers.end, worker=worker), deadline=LAST_WRITES)
            except DatabaseError as error:
                logger.warning("this worker could not end its lease, which runs out by itself: %s", error)
        self._parts.close_sessions()
