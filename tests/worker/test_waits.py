"""How long jobs waited for a worker: counted in buckets, forgotten in time, put together."""

from __future__ import annotations

import math
from uuid import uuid4

import pytest

from asyncjobs.records.claimed import Claimed
from asyncjobs.worker.watching.waits import KEPT, MOST_QUEUES, Waits, percentiles, together

pytestmark = pytest.mark.quick


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("waited", [0.001, 0.0037, 0.25, 0.999, 1.0, 59.0, 86_400.0])
def test_a_percentile_is_that_of_the_waits_to_a_tenth(waited: float) -> None:
    waits = Waits()
    for _ in range(95):
        waits.note("q", waited)
    for _ in range(5):
        waits.note("q", 30 * waited)
    found = percentiles(waits.recent()["q"])
    assert found == (pytest.approx(waited, rel=0.1), pytest.approx(waited, rel=0.1), 100)
    waits.note("q", 30 * waited)
    assert percentiles(waits.recent()["q"]).p95 == pytest.approx(30 * waited, rel=0.1)


def test_what_is_below_a_millisecond_counts_as_one_and_a_time_written_by_hand_does_not_count() -> None:
    waits = Waits()
    for waited in (-3.0, 0.0, 1e-9, 1e12, math.inf):
        waits.note("q", waited)
    assert percentiles(waits.recent()["q"]) == (pytest.approx(0.001, rel=0.1),) * 2 + (3,)


def test_counts_of_five_minutes_are_kept_for_five_more() -> None:
    clock = Clock()
    waits = Waits(clock)
    waits.note("q", 1.0)
    clock.now = KEPT + 1
    assert percentiles(waits.recent()["q"]).starts == 1
    waits.note("q", 1.0)
    assert percentiles(waits.recent()["q"]).starts == 2
    clock.now = 2 * KEPT + 3
    assert percentiles(waits.recent()["q"]).starts == 1
    clock.now = 5 * KEPT
    assert waits.recent() == {}


def test_so_many_queues_are_counted_and_several_workers_put_together() -> None:
    waits = Waits()
    for n in range(2 * MOST_QUEUES):
        waits.note(f"q{n}", 1.0)
    assert len(waits.recent()) == MOST_QUEUES
    assert together([{"a": {1: 2}, "b": {1: 1}}, {"a": {1: 1, 3: 1}}]) == {"a": {1: 3, 3: 1}, "b": {1: 1}}


def test_of_a_large_claim_some_waits_stand_for_all() -> None:
    waits = Waits()
    waits.note_claim([])
    waits.note_claim([Claimed(1, 1, 0, n, uuid4(), n, 1, "kind", "q", "{}", waited=1.0) for n in range(500)])
    found = percentiles(waits.recent()["q"])
    assert found == (pytest.approx(1.0, rel=0.13), pytest.approx(1.0, rel=0.13), pytest.approx(500, rel=0.1))
