"""Which pools and queues a process serves when some are chosen."""

from __future__ import annotations

import pytest

from asyncjobs import InvalidOption
from asyncjobs.checks.queue_patterns import serves
from asyncjobs.settings import Pool
from asyncjobs.worker.slots.choosing import chosen

POOLS = (
    Pool(queues=("critical",), concurrency=3),
    Pool(queues=("default", "low", "mail*", "-mail.bulk"), concurrency=5, order="weighted", weights={"default": 4, "mail*": 2}),
    Pool(queues=("-slow*",), concurrency=1),
)  # fmt: skip


def queues(*entries: str, numbers: tuple[int, ...] = ()) -> list[tuple[str, ...]]:
    return [pool.queues for pool in chosen(POOLS, numbers=numbers, queues=entries)]


def test_without_a_choice_all_are_served() -> None:
    assert chosen(POOLS) == POOLS


@pytest.mark.parametrize(
    ("entries", "left"),
    [
        (["critical"], [("critical",), ("critical",)]),
        (
            ["low", "default"],
            [("default", "low"), ("low", "default")],
        ),  # each pool's order, and ours in a pattern's place
        (["mail*"], [("mail*", "-mail.bulk"), ("mail*",)]),
        (["mailers"], [("mailers",), ("mailers",)]),
        (["mail.bulk"], [("mail.bulk",)]),
        (["mail.*", "-mail.x"], [("mail.*", "-mail.bulk", "-mail.x"), ("mail.*", "-mail.x")]),
        (["m*"], [("mail*", "-mail.bulk"), ("m*",)]),
        (["-critical", "-default"], [("low", "mail*", "-mail.bulk"), ("*", "-slow*", "-critical", "-default")]),
        (["*"], [("critical",), ("default", "low", "mail*", "-mail.bulk"), ("*", "-slow*")]),
        (["-mail*"], [("critical",), ("default", "low"), ("*", "-slow*", "-mail*")]),
    ],
)
def test_of_each_pool_what_is_chosen_is_served(entries: list[str], left: list[tuple[str, ...]]) -> None:
    assert queues(*entries) == left


@pytest.mark.parametrize(
    "entries", [["critical"], ["mail*", "-mail.x"], ["-low"], ["m*", "default"], ["slower*", "low"]]
)
def test_a_queue_is_served_by_a_pool_if_it_was_and_is_chosen(entries: list[str]) -> None:
    names = ["critical", "default", "low", "mail", "mail.bulk", "mail.x", "mailers", "music", "slow", "other"]
    left = chosen(POOLS[:2], queues=entries) if entries != ["slower*", "low"] else chosen(POOLS[:2], queues=["low"])
    for name in names:
        wanted = serves(entries, name)
        assert any(serves(pool.queues, name) for pool in left) == (
            wanted and any(serves(pool.queues, name) for pool in POOLS[:2])
        ), name


def test_pools_are_chosen_by_their_numbers_and_keep_what_they_have() -> None:
    assert chosen(POOLS, numbers=[3, 1]) == (POOLS[0], POOLS[2])
    assert queues("low", numbers=(2,)) == [("low",)]
    [pool] = chosen(POOLS, numbers=[2], queues=["mail.x", "default"])
    assert (pool.concurrency, pool.order, pool.weights) == (5, "weighted", {"default": 4, "mail.x": 2})


@pytest.mark.parametrize(
    ("numbers", "entries", "said"),
    [
        ([4], [], r"--pool 4: there is no such pool; there are pool 1 \(critical\), pool 2 \(default\+low"),
        ([0], [], "--pool 0: there is no such pool"),
        ([1, 2], ["crtical"], r"--queues crtical: no pool serves such a queue; there are pool 1 \(critical\), pool 2"),
        ([2], ["mail.bulk"], r"--queues mail.bulk: no pool serves .*; there are pool 2 \(default"),
        ([1], ["-critical"], "--queues -critical: leaves nothing to serve"),
        ([], ["a b"], '--queues: "a b" is no queue'),
    ],
)
def test_a_choice_that_cannot_be_is_refused_with_what_there_is(
    numbers: list[int], entries: list[str], said: str
) -> None:
    with pytest.raises(InvalidOption, match=said):
        chosen(POOLS, numbers=numbers, queues=entries)
