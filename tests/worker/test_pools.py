"""Pools: which queues, in which order, and how many slots."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.worker.slots.pools import Pool


def pool(*queues: str, concurrency: int = 2, **more: Any) -> Pool:
    return Pool(1, PoolSettings(queues=queues, concurrency=concurrency, **more), 500)


def claimed(number: int) -> Claimed:
    return Claimed(1, 1, 0, number, uuid4(), number, 1, "kind", "queue", "{}")


def test_queues_are_looked_at_in_the_order_they_are_listed() -> None:
    assert pool("critical", "default", "low").queues(["low", "default"]) == ["critical", "default", "low"]


def test_patterns_stand_for_the_queues_there_are_and_exclusions_take_some_out() -> None:
    some = pool("mail*", "*", "-bulk*")
    assert some.queues(["a", "bulk_mail", "mail_b", "mail_a"]) == ["mail_a", "mail_b", "a"]
    assert some.serves("anything") and not some.serves("bulk_mail")


def test_exclusions_alone_mean_everything_else() -> None:
    assert pool("-bulk").queues(["a", "bulk"]) == ["a"]


def test_weighted_queues_come_first_as_often_as_their_weights_say() -> None:
    weighted = pool("heavy", "light", order="weighted", weights={"heavy": 3, "light": 1})
    first = Counter(weighted.queues([])[0] for _ in range(4_000))
    assert 0.70 < first["heavy"] / 4_000 < 0.80  # 0.75 expected, standard deviation 0.007
    assert sorted(weighted.queues([])) == ["heavy", "light"]


def test_an_idle_pool_asks_for_its_free_slots_only() -> None:
    idle = pool("q", concurrency=3)
    assert idle.wanted() == 3
    idle.queued.append(claimed(1))
    idle.take_next()
    assert idle.wanted() == 2


def test_a_pool_of_quick_jobs_asks_for_some_ahead_and_one_of_slow_jobs_does_not() -> None:
    quick = pool("q", concurrency=3)
    quick.measure(0.0)
    for number in range(1_000):
        quick.queued.append(claimed(number))
        quick.take_next()
        quick.give_back()
    quick.measure(0.1)
    assert quick.wanted() == 3 + 200  # 10,000 a second for 20 ms
    quick.measure(5.0)
    assert quick.wanted() == 3


async def test_a_job_that_goes_on_gets_the_next_free_slot_before_any_new_one() -> None:
    one = pool("q", concurrency=1)
    one.queued.append(claimed(1))
    one.take_next()
    going_on = asyncio.ensure_future(one.take_slot())
    await asyncio.sleep(0)
    one.queued.append(claimed(2))
    assert not one.can_start
    one.give_back()
    await going_on
    assert one.running == 1 and not one.can_start
    one.give_back()
    assert one.can_start


async def test_a_job_cancelled_while_it_waits_for_a_slot_leaves_the_count_right() -> None:
    one = pool("q", concurrency=1)
    one.queued.append(claimed(1))
    one.take_next()
    waiting = asyncio.ensure_future(one.take_slot())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert one.running == 2  # its cleanup runs in a slot of its own
    one.give_back()
    one.give_back()
    assert one.running == 0


async def test_a_slot_that_falls_free_just_when_a_waiting_job_is_cancelled_leaves_the_count_right() -> None:
    one = pool("q", concurrency=1)
    one.queued.append(claimed(1))
    one.take_next()
    waiting = asyncio.ensure_future(one.take_slot())
    await asyncio.sleep(0)
    waiting.cancel()
    one.give_back()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert one.running == 1
    one.give_back()
    assert one.running == 0
