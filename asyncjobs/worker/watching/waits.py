"""Waits: for how long jobs were due before they were claimed, by queue, over the last minutes."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from asyncjobs.records.claimed import Claimed

KEPT = 300.0
"""Seconds after which counts are put aside, and after twice that forgotten."""
MOST_QUEUES = 50
"""Queues of which waits are counted."""
MOST_OF_A_CLAIM = 16
"""Jobs of one claim whose waits are looked at, each for as many others: to count each job costs a fiftieth of the drain."""
LEAST, LONGEST = 0.001, 1e9
"""Seconds: a wait below counts as that; one above is a time written by hand, and does not count."""

Counts: TypeAlias = dict[int, int]
"""Numbers of waits by bucket, four buckets to each doubling."""


def bucket_of(waited: float) -> int:
    """Return the bucket of a wait in seconds."""
    fraction, exponent = math.frexp(max(waited, LEAST))
    return exponent * 8 + int(fraction * 8)


class Waits:
    """The waits of one worker: counted on its event loop, read from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now: dict[str, Counts] = {}
        self._before: dict[str, Counts] = {}
        self._since = clock()

    def note_claim(self, claimed: Sequence[Claimed]) -> None:
        """Count the waits of jobs that were claimed together, of many those of some."""
        step = math.ceil(len(claimed) / MOST_OF_A_CLAIM) or 1
        for row in claimed[::step]:
            self.note(row.queue, row.waited, step)

    def note(self, queue: str, waited: float, times: int = 1) -> None:
        """Count a wait of one job, or of several that have waited as long."""
        if not waited < LONGEST:
            return
        counts = self._now.get(queue)
        if counts is None:
            if len(self._now) >= MOST_QUEUES:
                return
            counts = self._now[queue] = {}
        bucket = bucket_of(waited)
        counts[bucket] = counts.get(bucket, 0) + times

    def recent(self) -> dict[str, Counts]:
        """Return the counts of the last five to ten minutes by queue."""
        now = self._clock()
        if now - self._since > KEPT:
            self._before, self._now = ({} if now - self._since > 2 * KEPT else self._now), {}
            self._since = now
        return together([dict(self._before), dict(self._now)])


def together(several: Iterable[Mapping[str, Mapping[int, int]]]) -> dict[str, Counts]:
    """Add up counts by queue."""
    found: dict[str, Counter[int]] = {}
    for counts in several:
        for queue, buckets in counts.items():
            found.setdefault(queue, Counter()).update(dict(buckets))
    return {queue: dict(found[queue]) for queue in sorted(found)}


class Percentiles(NamedTuple):
    """What counts say of waits, in seconds, to a tenth."""

    p50: float
    p95: float
    starts: int
    """The number of waits."""


def percentiles(counts: Mapping[int, int]) -> Percentiles:
    """Return the percentiles of counts, of which there must be some."""
    total = sum(counts.values())
    return Percentiles(_below(counts, total * 0.5), _below(counts, total * 0.95), total)


def _below(counts: Mapping[int, int], wanted: float) -> float:
    """Return the middle of the bucket up to which there are so many."""
    passed, bucket = 0, 0
    for bucket in sorted(counts):
        passed += counts[bucket]
        if passed >= wanted:
            break
    exponent, eighth = divmod(bucket, 8)
    return math.ldexp((eighth + 0.5) / 8, exponent)
