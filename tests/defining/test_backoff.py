"""How long a job waits before its next attempt, and what stands in for a wait that makes no sense."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncjobs import Discard, Job, job, retry_on
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.failing import backoff
from asyncjobs.failing.backoff import LONGEST_COMPUTED, seconds
from asyncjobs.failing.deciding import What, decide
from asyncjobs.performing import hook_calls, outcomes
from asyncjobs.performing.outcomes import settle
from tests.support.processes import PATIENCE

WEEK = 7 * 86_400


@job(kind="backoff.on_the_loop")
async def on_the_loop() -> None: ...


@job(kind="backoff.in_a_thread")
def in_a_thread() -> None: ...


@pytest.fixture
def chance(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """What `random.random` gives, last; 0 unless a test says otherwise."""
    given = [0.0]
    monkeypatch.setattr(outcomes.random, "random", lambda: given[-1])
    return given


async def waited(
    wait: Any, error: BaseException | None = None, *, count: int = 0, run: Job[Any] | None = None
) -> float:
    """The wait after `error`, when the declaration has taken `count` errors of the job before."""
    error = error or ValueError("wrong")
    policy = retry_on(Exception, wait=wait, attempts="unlimited").policy
    counts = {policy.key: count}
    verdict = decide(error, policies=[policy], counts=counts)
    ending = await settle(run or on_the_loop(), verdict, Hooks(), counts)
    assert ending.what is What.retry
    assert ending.counts == {policy.key: count + 1}
    return ending.wait


class TestTheFormulas:
    @pytest.mark.parametrize(("executions", "shortest"), [(1, 3), (2, 18), (3, 83), (4, 258), (5, 627)])
    def test_polynomially_longer_is_the_fourth_power_and_two_seconds(self, executions: int, shortest: float) -> None:
        assert seconds("polynomially_longer", executions, jitter=0.15, random=0) == shortest
        longest = seconds("polynomially_longer", executions, jitter=0.15, random=1)
        assert longest == pytest.approx(shortest + 0.15 * executions**4)

    def test_exponential_is_a_power_of_two_without_jitter(self) -> None:
        for random in (0, 1):
            assert [seconds("exponential", n, jitter=1, random=random) for n in (1, 2, 3, 10)] == [2, 4, 8, 1024]

    def test_a_fixed_time_is_lengthened_by_up_to_the_jitter(self) -> None:
        assert seconds(60, 9, jitter=0.15, random=0) == 60
        assert seconds(60, 9, jitter=0.15, random=0.5) == pytest.approx(64.5)
        assert seconds(60, 9, jitter=0, random=1) == 60

    @given(
        st.sampled_from(["polynomially_longer", "exponential"]),
        st.integers(1, 2**63),
        st.floats(0, 1),
        st.floats(0, 1),
    )
    def test_no_formula_asks_for_more_than_a_week_nor_for_less_than_without_jitter(
        self, formula: str, executions: int, jitter: float, random: float
    ) -> None:
        shortest = min(WEEK, executions**4 + 2 if formula == "polynomially_longer" else 2.0 ** min(executions, 60))
        assert shortest <= seconds(formula, executions, jitter=jitter, random=random) <= WEEK

    async def test_a_declared_formula_counts_what_its_declaration_took(self, chance: list[float]) -> None:
        assert [await waited("exponential", count=n) for n in range(3)] == [2, 4, 8]
        assert [await waited("polynomially_longer", count=n) for n in range(3)] == [3, 18, 83]

    async def test_chance_lengthens_a_declared_wait(self, chance: list[float]) -> None:
        assert await waited(timedelta(minutes=1)) == 60
        chance.append(1.0)
        assert await waited(timedelta(minutes=1)) == 69

    async def test_a_wait_that_is_written_down_may_be_longer_than_a_week(self, chance: list[float]) -> None:
        assert await waited(timedelta(days=30)) == 30 * 86_400


class TestWaitFunctions:
    @pytest.mark.parametrize("run", [on_the_loop(), in_a_thread()], ids=["loop", "thread"])
    async def test_are_called_with_the_count(self, chance: list[float], run: Job[Any]) -> None:
        assert await waited(lambda executions: executions * 10, count=2, run=run) == 30

    @pytest.mark.parametrize("run", [on_the_loop(), in_a_thread()], ids=["loop", "thread"])
    async def test_with_two_parameters_get_the_error_that_was_taken(self, chance: list[float], run: Job[Any]) -> None:
        seen: list[tuple[int, BaseException]] = []

        def wait(executions: int, error: BaseException) -> float:
            seen.append((executions, error))
            return 7

        error = ValueError("this one")
        assert await waited(wait, error, run=run) == 7
        assert seen == [(1, error)]

    async def test_get_the_cause_when_that_is_what_was_taken(self, chance: list[float]) -> None:
        seen: list[BaseException] = []
        cause = ConnectionError("deeper")
        error = ValueError("outer")
        error.__cause__ = cause
        policy = retry_on(ConnectionError, wait=lambda n, error: seen.append(error) or 1).policy
        await settle(on_the_loop(), decide(error, policies=[policy]), Hooks(), {})
        assert seen == [cause]

    @pytest.mark.parametrize("run", [on_the_loop(), in_a_thread()], ids=["loop", "thread"])
    async def test_may_be_async(self, chance: list[float], run: Job[Any]) -> None:
        async def wait(executions: int, error: BaseException) -> timedelta:
            await asyncio.sleep(0)
            return timedelta(minutes=executions)

        assert await waited(wait, count=1, run=run) == 120

    async def test_may_be_any_callable(self, chance: list[float]) -> None:
        class Wait:
            def __call__(self, executions: int, error: BaseException) -> float:
                return 4.0

        assert await waited(Wait()) == 4
        assert await waited(float, count=5) == 6  # has no signature to look at

    async def test_are_lengthened_by_the_jitter_of_the_declaration(self, chance: list[float]) -> None:
        chance.append(1.0)
        assert await waited(lambda n: 100) == pytest.approx(115)

    @pytest.mark.parametrize("huge", [1e12, math.inf, 10**400, timedelta.max, WEEK], ids=lambda value: f"{value!r:.20}")
    async def test_are_cut_to_a_week_with_the_jitter(self, chance: list[float], huge: Any) -> None:
        chance.append(1.0)
        assert await waited(lambda n: huge) == WEEK

    @pytest.mark.parametrize(
        "nonsense",
        [-1, -0.001, timedelta(seconds=-1), math.nan, -math.inf, -(10**400), "5", None, True, [], object()],
        ids=lambda value: f"{value!r:.20}",
    )
    async def test_that_return_no_time_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture, nonsense: Any
    ) -> None:
        assert await waited(lambda n: nonsense) == backoff.DEFAULT_WAIT
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "its wait function failed" in record.getMessage()
        assert "backoff.on_the_loop" in record.getMessage()

    async def test_that_return_something_without_a_repr_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        class Unshowable:
            def __repr__(self) -> str:
                raise RuntimeError("no repr")

        assert await waited(lambda n: Unshowable()) == backoff.DEFAULT_WAIT
        assert "its wait function failed" in caplog.text

    @pytest.mark.parametrize("raised", [RuntimeError("broken"), StopIteration(), TimeoutError()], ids=repr)
    @pytest.mark.parametrize("run", [on_the_loop(), in_a_thread()], ids=["loop", "thread"])
    async def test_that_raise_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture, raised: Exception, run: Job[Any]
    ) -> None:
        def wait(executions: int) -> float:
            raise raised

        assert await waited(wait, run=run) == backoff.DEFAULT_WAIT
        assert "its wait function failed" in caplog.text

    async def test_that_raise_what_only_a_job_may_say_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        def wait(executions: int) -> float:
            raise Discard("not here")

        assert await waited(wait) == backoff.DEFAULT_WAIT
        assert "its wait function failed" in caplog.text

    async def test_that_cannot_be_called_so_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert await waited(lambda: 5) == backoff.DEFAULT_WAIT
        assert "TypeError" in caplog.text

    async def test_that_hang_are_cut_off_and_stand_for_the_default(
        self, chance: list[float], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        cut_off = asyncio.Event()

        async def wait(executions: int) -> float:
            try:
                await asyncio.Event().wait()
            finally:
                cut_off.set()
            return 1.0

        async with asyncio.timeout(PATIENCE):
            assert await waited(wait) == backoff.DEFAULT_WAIT
        assert cut_off.is_set()
        assert "cut off after 0.001 s" in caplog.text
        assert "its wait function failed" in caplog.text

    async def test_do_not_take_a_cancellation_for_their_failure(self) -> None:
        async def wait(executions: int) -> float:
            settling_task.cancel()
            await asyncio.Event().wait()
            return 1.0

        settling_task = asyncio.ensure_future(waited(wait))
        with pytest.raises(asyncio.CancelledError):
            await settling_task


class Throttled(Exception):
    def __init__(self, retry_after: Any) -> None:
        self.retry_after = retry_after


class TestAnErrorThatSaysHowLong:
    @pytest.mark.parametrize("wait", [60, "exponential", lambda n: 60], ids=["fixed", "formula", "function"])
    @pytest.mark.parametrize("asked", [12, 12.0, timedelta(seconds=12)], ids=repr)
    async def test_is_waited_for_so_long_without_jitter(self, chance: list[float], wait: Any, asked: Any) -> None:
        chance.append(1.0)
        assert await waited(wait, Throttled(asked)) == 12

    async def test_does_not_overrule_a_function_that_is_given_it(self, chance: list[float]) -> None:
        assert await waited(lambda n, error: error.retry_after + 1, Throttled(12)) == 13

    @pytest.mark.parametrize("asked", [math.inf, 10**400, timedelta.max], ids=lambda value: f"{value!r:.20}")
    async def test_is_cut_to_a_week(self, asked: Any) -> None:
        assert await waited(60, Throttled(asked)) == LONGEST_COMPUTED == WEEK

    @pytest.mark.parametrize("asked", [-1, math.nan, -(10**400), "120", None, True], ids=lambda value: f"{value!r:.20}")
    async def test_is_not_listened_to_when_it_says_no_time(self, chance: list[float], asked: Any) -> None:
        assert await waited(60, Throttled(asked)) == 60

    async def test_is_not_listened_to_when_it_cannot_even_be_asked(self, chance: list[float]) -> None:
        class Broken(Exception):
            @property
            def retry_after(self) -> float:
                raise RuntimeError("no answer")

        assert await waited(60, Broken()) == 60
