"""Which suspects share a process."""

from __future__ import annotations

from collections import Counter
from uuid import uuid4

import pytest

from asyncjobs.records.claimed import Claimed
from asyncjobs.worker.job_processes.suspect_groups import MOST_APART, Group, Groups


def suspect(together: int | None = None) -> Claimed:
    return Claimed(1, 1, 0, 1, uuid4(), 1, 3, "k", "q", "{}", 2, apart=True, together=together)


def start(groups: Groups, suspects: list[Claimed]) -> list[Group]:
    return [groups.join(each) for each in groups.plan(suspects)]


def sizes(joined: list[Group]) -> list[int]:
    return sorted(Counter(joined).values())


@pytest.mark.parametrize("count", [1, 2, MOST_APART])
def test_each_has_a_process_of_its_own_where_there_are_enough(count: int) -> None:
    assert sizes(start(Groups(), [suspect() for _ in range(count)])) == [1] * count


@pytest.mark.parametrize(("count", "most"), [(65, 3), (200, 7), (1_000, 32), (10_000, 313)])
def test_many_share_half_of_the_processes_that_are_free(count: int, most: int) -> None:
    found = sizes(start(Groups(), [suspect() for _ in range(count)]))
    assert found[-1] == most and len(found) <= MOST_APART // 2


@pytest.mark.parametrize(("neighbours", "deaths"), [(200, 1), (1_000, 1), (10_000, 3)])
def test_a_bomb_among_many_is_alone_after_few_deaths_of_its_group_whose_others_all_run_at_once(
    neighbours: int, deaths: int
) -> None:
    groups = Groups()
    joined = start(groups, [suspect() for _ in range(neighbours + 1)])
    group = joined[0]
    for death in range(1, 20):
        count = joined.count(group)
        for _ in range(count):
            groups.leave(group)
        joined = start(groups, [suspect(count // 2) for _ in range(count)])
        assert len(joined) == count and groups.running <= MOST_APART
        group = joined[0]
        if group.placed == 1:
            assert death == deaths
            return
    pytest.fail("it never was")


@pytest.mark.parametrize(("count", "free"), [(5, 4), (7, 4), (7, 5), (8, 2), (9, 3), (9, 8), (9, 9), (33, 32), (65, 7)])
@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_those_of_one_dead_process_all_run_though_they_come_one_by_one(count: int, free: int, at_once: int) -> None:
    groups = Groups()
    for _ in range(MOST_APART - free):
        groups.join(suspect(1))
    coming = [suspect(count // 2) for _ in range(count)]
    joined: list[Group] = []
    while coming:
        assert groups.has_room(waiting=0), f"{len(coming)} wait"
        part, coming = coming[:at_once], coming[at_once:]
        joined += start(groups, part)
    assert max(sizes(joined)) <= count // 2


@pytest.mark.parametrize("bombs", [2, 10, 32])
def test_every_death_halves_the_group_whatever_else_runs(bombs: int) -> None:
    """At most ten deaths of a group of a thousand until each bomb is alone, with no process left for anybody."""
    groups = Groups()
    for _ in range(MOST_APART):
        groups.join(suspect(1))
    together: int | None = None
    sized = []
    while together != 1:
        joined = start(groups, [suspect(together) for _ in range(1_000 if together is None else together * bombs)])
        sized.append(max(sizes(joined)))
        together = max(sized[-1] // 2, 1)
    assert len(sized) <= 10


def test_those_that_may_be_with_few_others_are_no_more_when_others_come_with_them() -> None:
    groups = Groups()
    planned = groups.plan([suspect() for _ in range(300)] + [suspect(2) for _ in range(5)])
    of = {each.id: groups.join(each) for each in planned}
    for each in planned:
        assert of[each.id].placed <= (each.together or 10)


def test_a_kind_that_asks_for_a_process_of_its_own_has_one_among_many() -> None:
    groups = Groups()
    planned = groups.plan([suspect() for _ in range(300)])
    alone = groups.join(planned[0], alone=True)
    others = [groups.join(each) for each in planned[1:]]
    assert (alone.placed, alone in others) == (1, False)


def test_a_group_whose_runs_have_all_ended_takes_nobody_in_and_its_process_is_free() -> None:
    groups = Groups()
    groups.plan([suspect() for _ in range(200)])
    first = groups.join(suspect())
    groups.leave(first)
    assert groups.free() == MOST_APART
    assert groups.join(suspect()) is not first
    assert groups.free(waiting=14) == MOST_APART - 3
