"""The jobs that are measured, for the worker's process."""

from __future__ import annotations

import asyncio
import os

from asyncjobs import current_job, job, retry_on
from benchmarks.clock import shout

EXPECTED_VARIABLE = "BENCH_EXPECTED"
_expected = int(os.environ.get(EXPECTED_VARIABLE, "0"))
_ran = 0


def _count() -> None:
    """Shout once the last expected job of this process has run: nobody need poll the table meanwhile."""
    global _ran  # noqa: PLW0603
    _ran += 1
    if _ran == _expected:
        shout(_expected)


@job
async def noop(n: int) -> None:
    """Do nothing."""
    _count()


@job
@retry_on(ConnectionError, wait=0, jitter=0, attempts=3)
async def fails_twice(n: int) -> None:
    """Fail in the first two attempts."""
    if current_job().attempt < 3:
        raise ConnectionError(n)
    _count()


@job
async def asleep(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)
    _count()


@job
async def nap(seconds: float) -> None:
    """Be counted, then sleep."""
    _count()
    await asyncio.sleep(seconds)


@job
async def first_line(n: int) -> None:
    """Tell the moment of the first line."""
    shout(n)
