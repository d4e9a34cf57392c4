"""Ready jobs that no living worker takes, and jobs that the worker of another application may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Any

from asyncjobs.checks import queue_patterns
from asyncjobs.db import reading


def cut_short(ready: Sequence[tuple[str, str, int]]) -> set[str]:
    """Return the queues of which only some ready jobs were read, so that their counts are minimums."""
    looked_at: Counter[str] = Counter()
    for queue, _, count in ready:
        looked_at[queue] += count
    return {queue for queue, count in looked_at.items() if count >= reading.LOOKED_AT}


def unserved(ready: Sequence[tuple[str, str, int]], workers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence about each kind of ready jobs that no worker runs.

    Args:
        ready: Queue, kind and number of ready jobs.
        workers: The facts of each living worker, with its `pools` and `kinds`.
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
    """Whether a worker has a pool for `queue`; its facts may be another version's."""
    for pool in worker.get("pools", ()):
        try:
            if queue_patterns.serves(pool["queues"], queue):
                return True
        except (KeyError, TypeError, AttributeError):
            continue
    return False


def of_two_applications(workers: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence about kinds in a module that two workers may have different versions of, or different ones.

    The sign is another kind of the module on each side, which the other side lacks.
    """
    told: set[str] = set()
    for one, other in combinations({frozenset(map(str, worker.get("kinds", ()))) for worker in workers}, 2):
        here, there = (_by_module(kinds) for kinds in (one - other, other - one))
        for module, shared in _by_module(one & other).items():
            if module in here and module in there and module not in told:
                told.add(module)
                lacking = " and ".join(sorted((here[module], there[module])))
                yield (
                    f"workers that serve {shared} differ in what else {module} defines ({lacking}): where these are two "
                    "applications, they take each other's jobs: give each a kind_prefix; during a deploy this is normal"
                )


def _by_module(kinds: Iterable[str]) -> dict[str, str]:
    """Return one kind of each module, the last in order."""
    return {kind.rpartition(".")[0]: kind for kind in sorted(kinds)}
