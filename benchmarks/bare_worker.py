"""The worker's side of the floor, in a process of its own: `python -m benchmarks.bare_worker URL`.

Listens on one connection, claims on another, shouts the moment at which it holds the job, moves it with a notice.
The job's number is its args.
"""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import uvloop

from benchmarks import bare
from benchmarks.clock import shout
from benchmarks.server import PINNED_PLANS


async def main(url: str) -> None:
    """Work until the parent ends this process."""
    listener = await asyncpg.connect(url)
    connection = await asyncpg.connect(url, server_settings=PINNED_PLANS)
    woken = asyncio.Event()
    await listener.add_listener(bare.READY, lambda *_: woken.set())
    woken.set()
    while True:
        await woken.wait()
        woken.clear()
        for job in await connection.fetch(bare.CLAIM, bare.QUEUE, 10, bare.WORKER):
            shout(int(job["args"]))
            await connection.fetch(bare.MOVE_AND_NOTIFY, [job["id"]], [job["fence"]], ["null"])


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
