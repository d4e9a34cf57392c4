"""Which ready jobs no living worker will ever take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from asyncjobs.db import reading
from asyncjobs.defining import queue_patterns


def cut_short(ready: Sequence[tuple[str, str, int]]) -> set[str]:
    """Return the queues of which not every ready job was looked at, so that their counts are the least there are."""
    looked_at: Counter[str] = Counter()
    for queue, _, count in ready:
        looked_at[queue] += count
    return {queue for queue, count in looked_at.items() if count >= reading.LOOKED_AT}


def unserved(ready: Sequence[tuple[str, str, int]], workers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Say what nobody runs.

    Args:
        ready: Queue, kind and number of ready jobs.
        workers: What each living worker said about itself: its `pools` and `kinds`.
    """
    cut = cut_short(ready)
    for queue, kind, count in ready:
        jobs = f"{'at least ' if queue in cut else ''}{count} x {kind}"
        serving = [worker for worker in workers if serves(worker, queue)]
        if not serving:
            yield f"{jobs} ready in queue {queue}, which no worker's pools serve: add it to a pool's queues"
        elif not any(kind in worker.get("kinds", ()) for worker in serving):
            yield f"{jobs} ready in queue {queue}, whose workers do not know this kind: import its module there"


def serves(worker: dict[str, Any], queue: str) -> bool:
    """Whether a worker has a pool for `queue`; what it says about itself may be of another version."""
    for pool in worker.get("pools", ()):
        try:
            if queue_patterns.serves(pool["queues"], queue):
                return True
        except (KeyError, TypeError, AttributeError):
            continue
    return False
