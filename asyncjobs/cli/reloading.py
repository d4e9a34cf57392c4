"""`asyncjobs run --reload`: a worker that is started again whenever the code changes, for development."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from asyncjobs.exceptions import InvalidOption
from asyncjobs.processes.supervisor import Child, Next

logger = logging.getLogger("asyncjobs.reload")

ENDINGS = (".py", ".toml")
"""Of the files whose change counts."""


class Reloading:
    """Watches the code of a worker; one that died is started again when that changes.

    Args:
        directory: Watched, with all that is in it.

    Raises:
        InvalidOption: The library that watches is not installed.
    """

    def __init__(self, directory: Path) -> None:
        if importlib.util.find_spec("watchfiles") is None:
            raise InvalidOption("--reload needs watchfiles: pip install 'asyncjobs-pg[reload]'")
        self._directory = directory

    def __call__(self, _child: Child, code: int) -> Next:
        """Return what follows on a worker's exit code: nothing when it has nothing left to do."""
        if code == 0:
            return Next()
        logger.error("the worker ended with code %d: it is started again when the code changes", code)
        return Next(pause=math.inf)

    @asynccontextmanager
    async def watching(self, on_change: Callable[[], object]) -> AsyncIterator[None]:
        """Call `on_change` whenever files have changed, from the moment that the block begins."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._watch(on_change, stop), name="asyncjobs watching")
        await asyncio.sleep(0)  # its first step, after which no change is missed: a worker may be importing already
        try:
            yield
        finally:
            stop.set()
            await task

    async def _watch(self, on_change: Callable[[], object], stop: asyncio.Event) -> None:
        from watchfiles import awatch

        logger.info("watching %s", self._directory)
        async for changes in awatch(self._directory, watch_filter=self._counts, stop_event=stop):
            changed = sorted(str(Path(path).relative_to(self._directory)) for _, path in changes)
            logger.info("changed: %s", ", ".join(changed[:5]) + (" …" if len(changed) > 5 else ""))
            on_change()

    def _counts(self, _change: object, path: str) -> bool:
        parts = Path(path).relative_to(self._directory).parts
        return path.endswith(ENDINGS) and not any(part.startswith(".") or part == "__pycache__" for part in parts)
