"""Waits by polling, for conditions that the kernel does not announce."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

POLL = 0.01  # seconds between two looks


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until `condition()` holds; return False if it did not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL)
    return True
