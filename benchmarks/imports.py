"""Is `import asyncjobs` much more than importing what it stands on?"""

from __future__ import annotations

import asyncio
import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

TIMES = 10
PROGRAM = "import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"


async def _import(names: str) -> Sample:
    took = []
    for _ in range(TIMES):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM.format(names=names), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        took.append(float(output) * 1000)
    return {"ms": statistics.median(took)}


async def ours(bench: Bench) -> Sample:
    """Import asyncjobs."""
    return await _import("asyncjobs")


async def libraries(bench: Bench) -> Sample:
    """Import asyncpg, pydantic_settings and orjson alone."""
    return await _import("asyncpg, pydantic_settings, orjson")


QUESTIONS = (
    Question(
        "imports",
        "`import asyncjobs` in a fresh interpreter; against importing asyncpg, pydantic_settings and orjson alone.",
        ours,
        libraries,
        "the libraries",
        targets=(Target("ms", at_most=1.2),),
    ),
)
