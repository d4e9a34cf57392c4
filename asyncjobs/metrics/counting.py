"""The counts of this process: written on the event loop, read from any thread."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from asyncjobs.metrics import families
from asyncjobs.metrics.families import Family

MOST_ROWS = 200
"""Pairs of kind and queue that are counted apart, and queues; those that come later are `other`."""
OTHER = "other"
LONGEST_WAIT = 1e9
"""Seconds of a wait from which on it is a time written by hand, and not observed."""
OLD = 60.0
"""Seconds after which figures of queues are not shown any more: nobody could read new ones."""

Labels: TypeAlias = tuple[str, ...]


class Histogram:
    """Observed values, counted in buckets.

    Args:
        bounds: The upper bounds of the buckets; a last one has no bound.
    """

    __slots__ = ("also", "bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.also: Callable[[float], object] | None = None
        """Told of every value, too."""

    def observe(self, value: float) -> None:
        """Add a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        if self.also is not None:
            self.also(value)


class Row:
    """The counts of one kind in one queue."""

    __slots__ = ("duration", "ended", "enqueued", "started", "wait")

    def __init__(self) -> None:
        self.enqueued = self.started = 0
        self.ended = dict.fromkeys(families.OUTCOMES, 0)
        self.wait, self.duration = Histogram(families.WAIT.bounds), Histogram(families.DURATION.bounds)

    # Both write out what `Histogram.observe` does: a call less each, of some ten thousand a second.

    def start(self, waited: float) -> float:
        """Count the start of an attempt whose job was due for so many seconds; return its time."""
        self.started += 1
        if not 0.0 <= waited < LONGEST_WAIT:
            if waited > 0.0:
                return time.monotonic()
            waited = 0.0
        wait = self.wait
        wait.counts[bisect_left(wait.bounds, waited)] += 1
        wait.total += waited
        if wait.also is not None:
            wait.also(waited)
        return time.monotonic()

    def end(self, begun: float, outcome: str) -> None:
        """Count the end of an attempt that began at `begun`."""
        self.ended[outcome] += 1
        lasted, duration = time.monotonic() - begun, self.duration
        duration.counts[bisect_left(duration.bounds, lasted)] += 1
        duration.total += lasted
        if duration.also is not None:
            duration.also(lasted)


class QueueFigures(NamedTuple):
    """The jobs of one queue."""

    queue: str
    ready: int
    scheduled: int
    running: int
    waiting: int
    oldest: float
    """Seconds for which the oldest ready job has been due; 0: none is ready."""


class WorkerFigures(NamedTuple):
    """A worker at one moment."""

    pools: Sequence[tuple[int, int, int]]
    """Number, slots and running jobs of each pool."""
    ready: bool
    listening: bool
    unwritten: int
    loop_blocked: float
    rescued: int


Samples: TypeAlias = list[tuple[Labels, float]]
Histograms: TypeAlias = list[tuple[Labels, Histogram]]


class Metrics:
    """Everything that is counted, by family and labels."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._on_histogram: Callable[[Family, Labels, Histogram], object] | None = None
        self._queues: Sequence[QueueFigures] = ()
        self._queues_of = float("-inf")
        """When the figures of queues were taken, by the monotonic clock."""
        self.worker: Callable[[], WorkerFigures] | None = None
        """Returns the figures of the worker of this process; None: it has none."""
        self.loop_lag = Histogram(families.LOOP_LAG.bounds)
        self.of_client, self.of_worker = (Histogram(families.DATABASE.bounds) for _ in range(2))

    def row(self, kind: str, queue: str) -> Row:
        """Return the counts of a kind in a queue."""
        found = self._rows.get((kind, queue))
        return self._new_row(kind, queue) if found is None else found

    def _new_row(self, kind: str, queue: str) -> Row:
        if len(self._rows) >= MOST_ROWS:
            kind = queue = OTHER
        made = self._rows.get((kind, queue))
        if made is None:
            made = self._rows[kind, queue] = Row()
            if self._on_histogram is not None:
                self._tell_of_row((kind, queue), made, self._on_histogram)
        return made

    def enqueued(self, kind: str, queue: str) -> None:
        """Count a job that was enqueued."""
        self.row(kind, queue).enqueued += 1

    def set_queues(self, figures: Iterable[QueueFigures], age: float) -> None:
        """Take in figures of the queues that were taken `age` seconds ago; small queues beyond the bound are one.

        A queue that is empty by now, and was not the last time, is shown as empty: a line that ends says nothing.
        """
        found = sorted(figures, key=lambda one: -one.ready)
        named = {each.queue for each in found}
        gone = [each.queue for each in self._queues if each.queue not in named and each.queue != OTHER]
        found += [QueueFigures(name, 0, 0, 0, 0, 0.0) for name in gone[: max(MOST_ROWS - 1 - len(found), 0)]]
        most, rest = found[: MOST_ROWS - 1], found[MOST_ROWS - 1 :]
        if len(rest) > 1:
            counts = [sum(column) for column in zip(*(each[1:5] for each in rest), strict=True)]
            rest = [QueueFigures(OTHER, counts[0], counts[1], counts[2], counts[3], max(each.oldest for each in rest))]
        self._queues, self._queues_of = [*most, *rest], time.monotonic() - age

    def on_histogram(self, tell: Callable[[Family, Labels, Histogram], object]) -> None:
        """Call `tell` with every histogram, those to come included."""
        self._on_histogram = tell
        tell(families.LOOP_LAG, (), self.loop_lag)
        tell(families.DATABASE, ("client",), self.of_client)
        tell(families.DATABASE, ("worker",), self.of_worker)
        for labels, row in list(self._rows.items()):
            self._tell_of_row(labels, row, tell)

    @staticmethod
    def _tell_of_row(labels: Labels, row: Row, tell: Callable[[Family, Labels, Histogram], object]) -> None:
        tell(families.WAIT, labels, row.wait)
        tell(families.DURATION, labels, row.duration)

    # Reading

    def samples(self) -> dict[Family, Samples]:
        """Return the values of counters and gauges; families that have none here are left out."""
        rows = list(self._rows.items())
        found: dict[Family, Samples] = {
            families.ENQUEUED: [(labels, row.enqueued) for labels, row in rows if row.enqueued],
            families.STARTED: [(labels, row.started) for labels, row in rows if row.started],
            families.ENDED: [
                ((*labels, outcome), count) for labels, row in rows for outcome, count in row.ended.items() if count
            ],
        }
        age = time.monotonic() - self._queues_of
        if age < OLD:
            queues = self._queues
            states = ("ready", "scheduled", "running", "waiting")
            found[families.QUEUE_JOBS] = [
                ((each.queue, state), count) for each in queues for state, count in zip(states, each[1:5], strict=True)
            ]
            found[families.OLDEST_READY] = [((each.queue,), each.oldest + age * (each.ready > 0)) for each in queues]
        if self.worker is not None:
            found.update(_of_worker(self.worker()))
        return found

    def histograms(self) -> Iterator[tuple[Family, Histograms]]:
        """Return the histograms; families that have none here are left out."""
        rows = [(labels, row) for labels, row in list(self._rows.items()) if row.started]
        if rows:
            yield families.WAIT, [(labels, row.wait) for labels, row in rows]
            yield families.DURATION, [(labels, row.duration) for labels, row in rows]
        if self.worker is not None:
            yield families.LOOP_LAG, [((), self.loop_lag)]
        yield families.DATABASE, [(("client",), self.of_client), (("worker",), self.of_worker)]


def _of_worker(worker: WorkerFigures) -> dict[Family, Samples]:
    return {
        families.RESCUED: [((), worker.rescued)],
        families.RUNNING: [((str(number),), running) for number, _, running in worker.pools],
        families.SLOTS: [((str(number),), slots) for number, slots, _ in worker.pools],
        families.READY: [((), int(worker.ready))],
        families.LISTENING: [((), int(worker.listening))],
        families.UNWRITTEN: [((), worker.unwritten)],
        families.LOOP_BLOCKED: [((), worker.loop_blocked)],
    }
