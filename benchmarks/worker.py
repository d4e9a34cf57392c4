"""Our worker's side, in a process of its own, on uvloop: `python -m benchmarks.worker CONFIG`, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop

from asyncjobs import AsyncJobs


async def main(config: str) -> None:
    """Work."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with AsyncJobs(config=config).running():
        await ended.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
