"""How often a worker looks at limits."""

from __future__ import annotations

import asyncio

import pytest

from asyncjobs.db.limiting import Admitted
from asyncjobs.worker.limits.admission import MOST_AGAIN, Admission


class Answers:
    """Sessions whose every look answers so."""

    def __init__(self, *answers: Admitted) -> None:
        self.answers = list(answers)

    async def run(self, _use: object) -> Admitted:
        return self.answers.pop(0)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which takes any time."""
    made: list[float] = []

    async def sleep(seconds: float) -> None:
        made.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("random.random", lambda: 1.0)
    return made


IN_HAND, PASSED, DONE = Admitted(0, True, None, False), Admitted(3, True, None, False), Admitted(0, False, None, False)


async def test_what_somebody_holds_for_long_is_looked_at_less_and_less_often(pauses: list[float]) -> None:
    await Admission(Answers(*[IN_HAND] * 50, DONE), lambda: 0, None).look()
    assert pauses[:3] == [0.01, 0.02, 0.04]
    assert pauses[10:] == [MOST_AGAIN] * 40


async def test_while_jobs_are_let_pass_the_next_look_follows_soon(pauses: list[float]) -> None:
    await Admission(Answers(IN_HAND, IN_HAND, PASSED, PASSED, DONE), lambda: 0, None).look()
    assert pauses == [0.01, 0.02, 0.005, 0.005]
