"""What becomes of what recurs when a worker starts: of two versions of the code the newer one is followed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asyncjobs.jobs.declared_schedules import Change, Decided, Declaration, Kept, Version, What, decide
from asyncjobs.jobs.recurring import Recurrence

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LATELY = LONG_AGO + timedelta(days=1)


def said(name: str = "report", schedule: str = "@daily") -> Recurrence:
    return Recurrence(
        name=name, kind="app.report", queue="default", priority=0, args="{}", order=None, expires_in=None, schedule=schedule,
        timezone="UTC", catch_up="latest", overlap="allow", jitter=0.0, enabled=True,
    )  # fmt: skip


def declaration(
    *given: Recurrence, scope: str = "", has_config: bool = True, kinds: Any = ("app.report",)
) -> Declaration:
    return Declaration(scope, has_config, {each.name: (each, "config") for each in given}, frozenset(kinds))


def stored(schedule: str = "@daily", **given: Any) -> What:
    values: dict[str, Any] = {
        "name": "report", "seen_until": LONG_AGO, "enabled": True, "paused_at": None, "removed_at": None, "schedule": schedule,
        "timezone": "UTC", "declared": "config", "scope": "", "digest": said(schedule=schedule).digest, "version": "theirs",
        "kind": "app.report", "is_known": False,
    }  # fmt: skip
    return What(**{**values, **given})


def outcome(decided: Decided) -> tuple[list[str], list[str], list[str], bool]:
    changes = [f"{each.name} {'removed' if each.to is None else each.to.schedule}" for each in decided.changes]
    return changes, decided.affirmed, [each.name for each in decided.kept], decided.is_newest


MINE = declaration(said())
NONE = declaration()


def versions(mine: datetime | None, theirs: datetime, *, is_live: bool, of: Declaration = MINE) -> dict[str, Version]:
    known = {"theirs": Version(theirs, is_live)}
    return known if mine is None else {**known, of.version: Version(mine, False)}


@pytest.mark.parametrize("is_live", [True, False])
def test_a_version_that_was_never_seen_is_newer_than_every_other(is_live: bool) -> None:
    found = decide(MINE, [stored("@hourly")], versions(None, LONG_AGO, is_live=is_live))
    assert outcome(found) == (["report @daily"], [], [], False)
    found = decide(NONE, [stored("@hourly")], versions(None, LONG_AGO, is_live=is_live, of=NONE))
    assert outcome(found) == (["report removed"], [], [], False)


def test_an_older_one_changes_nothing_while_a_worker_has_the_newer() -> None:
    for mine in (MINE, NONE):
        found = decide(mine, [stored("@hourly")], versions(LONG_AGO, LATELY, is_live=True, of=mine))
        assert outcome(found) == ([], [], ["report"], False)
    removed = stored("@daily", removed_at=LATELY)
    assert outcome(decide(MINE, [removed], versions(LONG_AGO, LATELY, is_live=True))) == ([], [], ["report"], False)


def test_an_older_one_that_is_deployed_again_counts_as_the_newest() -> None:
    found = decide(MINE, [stored("@hourly")], versions(LONG_AGO, LATELY, is_live=False))
    assert outcome(found) == (["report @daily"], [], [], True)


def test_what_is_as_it_should_be_is_the_newer_ones_from_then_on() -> None:
    assert outcome(decide(MINE, [stored()], versions(None, LONG_AGO, is_live=True))) == ([], ["report"], [], False)
    assert outcome(decide(MINE, [stored()], versions(LONG_AGO, LATELY, is_live=True))) == ([], [], [], False)


def test_what_was_added_by_hand_is_kept() -> None:
    by_hand = stored("@hourly", declared=None, version=None)
    assert decide(MINE, [by_hand], {}).kept == [Kept("report", by_hand=True)]
    assert outcome(decide(NONE, [by_hand], {})) == ([], [], [], False)
    removed = by_hand._replace(removed_at=LATELY)
    assert decide(MINE, [removed], {}).changes == [Change("report", removed, said(), "config")]


@pytest.mark.parametrize(
    ("what", "of", "is_removed"),
    [
        (stored(), NONE, True),
        (stored(), declaration(has_config=False), False),
        (stored(scope="shop."), NONE, False),
        (stored(declared="code"), NONE, True),
        (stored(declared="code"), declaration(kinds=()), True),
        (stored(declared="code", is_known=True), declaration(kinds=()), False),
        (stored(declared="code", is_known=True), NONE, True),
    ],
)
def test_a_worker_removes_what_it_or_nobody_has_any_more(what: What, of: Declaration, is_removed: bool) -> None:
    changes = decide(of, [what], {}).changes
    assert changes == ([Change("report", what, None)] if is_removed else [])


def test_every_part_of_what_is_said_makes_another_version_and_the_order_does_not() -> None:
    one, other = said("one"), said("other")
    assert declaration(one, other).version == declaration(other, one).version
    different = [declaration(one), declaration(other), declaration(one, scope="shop."), declaration(one, has_config=False),
                 declaration(one, kinds=()), declaration(said("one", "@hourly"))]  # fmt: skip
    assert len({each.version for each in different}) == len(different)
