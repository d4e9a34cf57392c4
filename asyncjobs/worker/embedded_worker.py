"""An embedded worker: it runs on the event loop of an application, and is started again after an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncjobs.checks.foreign_texts import log
from asyncjobs.exceptions import DatabaseError
from asyncjobs.worker.worker import Worker

logger = logging.getLogger("asyncjobs")

FIRST_RESTART, LONGEST_RESTART = 0.5, 30.0
"""Seconds until it is started again after an error; doubled each time."""


class EmbeddedWorker:
    """Workers, one after the other, until it is stopped.

    Args:
        make: Makes a worker that is not started. The first is made at once, and its errors are the caller's.
    """

    def __init__(self, make: Callable[[], Worker]) -> None:
        self._make = make
        self.worker: Worker | None = None
        """The worker that runs; None: it has failed, and the next is not started yet."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running(make()), name="asyncjobs worker")

    @property
    def healthy(self) -> bool:
        """Whether a worker runs and holds its lease, and was not kept from claiming for as long as a lease."""
        worker = self.worker
        if worker is None or not worker.ready.is_set() or worker.lease.over:
            return False
        return worker.held_up_for < worker.lease.seconds

    async def stop(self, limit: float) -> None:
        """Stop, and let running jobs finish as a worker's `stop` does; after `limit` seconds, end all the same."""
        if self.worker is not None:
            self.worker.stop()
            await asyncio.wait([self._task], timeout=limit)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=5)

    async def _keep_running(self, worker: Worker) -> None:
        pause = FIRST_RESTART
        while True:
            self.worker = worker
            started = asyncio.get_running_loop().time()
            try:
                await worker.run()
            except asyncio.CancelledError:
                raise
            except DatabaseError as error:
                log(logger, logging.ERROR, "the embedded worker cannot run: %s; trying again", error)
            except BaseException:
                logger.exception("the embedded worker crashed; starting it again")
            else:
                return
            finally:
                self.worker = None
            if asyncio.get_running_loop().time() - started > LONGEST_RESTART:
                pause = FIRST_RESTART
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_RESTART)
            worker = self._make()
