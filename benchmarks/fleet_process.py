"""`python -m benchmarks.fleet_process URL WORKERS`: so many workers in one process, until it is told to stop.

Says `ready` when all are at work; answers each line of its input with how many claims they have made.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import uvloop

from asyncjobs import AsyncJobs
from asyncjobs.db import claims

if TYPE_CHECKING:
    from asyncjobs.records.claimed import Claimed

_claim = claims.claim
_claims = Counter[str]()


async def _counted(*arguments: Any, **named: Any) -> list[Claimed]:
    _claims["made"] += 1
    return await _claim(*arguments, **named)


async def _run(url: str, workers: int) -> None:
    claims.claim = _counted
    asked = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(asked)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async with contextlib.AsyncExitStack() as stack:
        fleet = [
            await stack.enter_async_context(AsyncJobs(database_url=url, imports=["benchmarks.jobs"]).running())
            for _ in range(workers)
        ]
        while not all(each.healthy for each in fleet):
            await asyncio.sleep(0.05)
        print("ready", flush=True)
        while await asked.readline():
            print(_claims["made"], flush=True)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], int(sys.argv[2])))
