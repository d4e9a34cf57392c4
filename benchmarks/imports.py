"""Is `import asyncjobs` much more than importing what it stands on?"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.question import Question, Sample, Target

if TYPE_CHECKING:
    from benchmarks.server import Bench

TIMES = 10
PROGRAM = "import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"
OURS = "asyncjobs"
LIBRARIES = "asyncpg, pydantic.main, pydantic.type_adapter, orjson"
# Both are compiled, as installed packages are: the first import of each writes what is not.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def imports(bench: Bench) -> tuple[Sample, Sample]:
    """Import asyncjobs, and in turn with it the libraries alone."""
    for names in (OURS, LIBRARIES):
        await _import(names)
    took = [(await _import(OURS), await _import(LIBRARIES)) for _ in range(TIMES)]
    ours, libraries = ({"ms": statistics.median(side)} for side in zip(*took, strict=True))
    return ours, libraries


async def _import(names: str) -> float:
    """Import in a fresh interpreter; return the milliseconds."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(names=names), stdout=asyncio.subprocess.PIPE, env=ENVIRONMENT
    )
    output, _ = await process.communicate()
    return float(output) * 1000


QUESTIONS = (
    Question(
        "imports",
        "`import asyncjobs` in a fresh interpreter; against asyncpg, pydantic's models and orjson alone, in turn.",
        against_is="the libraries",
        targets=(Target("ms", at_most=1.2),),
        both=imports,
    ),
)
