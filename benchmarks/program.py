"""A program that is measured, in a process of its own."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from benchmarks.clock import EXPECTED_VARIABLE, Ear
from tests.support.workers import Worker, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from benchmarks.server import Bench


@contextlib.asynccontextmanager
async def program(bench: Bench, command: Sequence[str], *, expected: int = 0) -> AsyncIterator[tuple[Worker, Ear]]:
    """One process, which shouts when it has run *expected* counting jobs. Killed at the end, if it still runs."""
    with Ear(bench.directory) as ear:
        environment = {**ear.environment, EXPECTED_VARIABLE: str(expected)}
        async with Workers(bench.directory, environment=environment, anew=True) as workers:
            yield workers.start(command=command, name=f"program-{time.monotonic_ns()}"), ear  # a log of its own
