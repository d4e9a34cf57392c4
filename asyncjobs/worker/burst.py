"""The end of a burst: no job is left that this worker could run now."""

from __future__ import annotations

import asyncio
from functools import partial

from asyncjobs.db import workers
from asyncjobs.db.connecting import Connection
from asyncjobs.definitions import registry
from asyncjobs.worker.parts import Parts

LOOK_AGAIN = 0.2
"""Seconds between looks for jobs of dead workers, before a burst ends."""


async def nothing_left(parts: Parts) -> None:
    """Wait until nothing is left to do for the services of a worker."""
    await parts.recurring.begun.wait()
    await parts.timekeeper.promote()
    while True:
        await parts.dispatcher.found_nothing()
        await parts.executor.idle()
        await parts.ledger.drained()
        await parts.admission.look()  # jobs that have ended may let others pass
        await parts.batch_finisher.look(at_once=True)
        parts.look_at_everything()
        await asyncio.sleep(0)
        await parts.dispatcher.found_nothing()
        if parts.executor.running or parts.executor.imminent() or await parts.dispatcher.claim_suspects():
            continue
        if not await parts.keeping_house.run(partial(_is_anything_left, parts=parts)):
            return
        # Jobs of a dead worker may be left: it is declared dead only after a while without beats.
        await asyncio.sleep(LOOK_AGAIN)


async def _is_anything_left(connection: Connection, parts: Parts) -> bool:
    queues = sorted({queue for pool in parts.pools for queue in pool.queues(parts.dispatcher.known_queues)})
    return await workers.anything_left(connection, queues, sorted({*registry.all_names()} - parts.pauses.kinds))
