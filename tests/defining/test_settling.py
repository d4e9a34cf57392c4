"""From what an attempt's end means to how it ends: the job's own code is asked, and cannot break it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncjobs import Cancel, Discard, Job, Retry, Snooze, discard_on, job, rescue_from, retry_on
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.failing.deciding import What, decide
from asyncjobs.failing.policies import Policy, RescueFrom
from asyncjobs.performing import hook_calls
from asyncjobs.performing.outcomes import Outcome, settle
from tests.support.processes import PATIENCE


@job(kind="settling.job")
async def some_job() -> None: ...


@job(kind="settling.limited", timeout=0.001)
async def limited() -> None: ...


async def settled(error: BaseException, policy: Policy | None = None, of: Job[Any] | None = None) -> Outcome:
    policies = () if policy is None else (policy,)
    return await settle(of or some_job(), decide(error, policies=policies), Hooks(), {})


def rescuing(handler: Any) -> RescueFrom:
    return RescueFrom(errors=(Exception,), handler=handler)


def exhausted(handler: Any) -> Policy:
    return retry_on(Exception, attempts=1, on_exhausted=handler).policy


ERROR = ValueError("wrong")


class Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raising(raised: BaseException) -> Any:
    async def handler(job: Job, error: BaseException) -> None:
        raise raised

    return handler


async def hang(job: Job, error: BaseException) -> None:
    await asyncio.Event().wait()


class TestARetry:
    async def test_goes_where_its_declaration_says(self) -> None:
        policy = retry_on(ValueError, wait=60, jitter=0, queue="low", priority=9).policy
        outcome = await settled(ERROR, policy)
        assert outcome == Outcome(What.retry, ERROR, wait=60, counts={policy.key: 1}, queue="low", priority=9)

    async def test_keeps_the_counts_of_the_other_declarations(self) -> None:
        policy = retry_on(ValueError).policy
        decision = decide(ERROR, policies=[policy], counts={"another": 4, policy.key: 2})
        outcome = await settle(some_job(), decision, Hooks(), {"another": 4, policy.key: 2})
        assert outcome.counts == {"another": 4, policy.key: 3}

    async def test_that_the_job_asks_for_counts_for_none_and_keeps_its_cause_as_the_error(self) -> None:
        asked = Retry(wait=60)
        assert await settled(asked) == Outcome(What.retry, asked, wait=60)
        asked.__cause__ = ERROR
        assert await settled(asked) == Outcome(What.retry, ERROR, wait=60)

    async def test_that_is_a_snooze_has_no_error(self) -> None:
        assert await settled(Snooze(60)) == Outcome(What.snooze, wait=60)


class TestAReason:
    async def test_of_a_job_that_a_declaration_discards_is_the_error_it_took(self) -> None:
        outer = KeyError()
        outer.__cause__ = ERROR
        outcome = await settled(outer, discard_on(ValueError).policy)
        assert outcome == Outcome(What.discard, outer, "ValueError: wrong")

    async def test_of_an_error_that_has_no_text_is_its_class(self) -> None:
        error = Unreadable()
        assert (await settled(error, discard_on(Exception).policy)).reason == (
            "Unreadable: <its message cannot be read: RuntimeError>"
        )
        assert (await settled(error, exhausted(lambda job, error: None))).reason == (
            "1 attempts used up: Unreadable: <its message cannot be read: RuntimeError>"
        )

    async def test_that_the_job_gives_is_kept_with_the_cause_as_the_error(self) -> None:
        discard = Discard("too late")
        discard.__cause__ = ERROR
        assert await settled(discard) == Outcome(What.discard, ERROR, "too late")
        assert await settled(Cancel("not wanted")) == Outcome(What.cancel, reason="not wanted")

    @pytest.mark.parametrize("signal", [Discard, Cancel])
    async def test_that_cannot_be_read_ends_the_job_all_the_same(self, signal: Any) -> None:
        outcome = await settled(signal(Unreadable()))
        assert outcome.what is (What.discard if signal is Discard else What.cancel)
        assert outcome.reason == "Unreadable"


class TestOnExhausted:
    async def test_returning_discards_the_job(self) -> None:
        told: list[Any] = []
        made = some_job()
        outcome = await settled(ERROR, exhausted(lambda job, error: told.append((job, error))), made)
        assert outcome == Outcome(What.discard, ERROR, "1 attempts used up: ValueError: wrong")
        assert told == [(made, ERROR)]

    async def test_is_told_what_the_declaration_took(self) -> None:
        told: list[BaseException] = []
        outer = LookupError()
        outer.__cause__ = ERROR
        policy = retry_on(ValueError, attempts=1, on_exhausted=lambda job, error: told.append(error)).policy
        assert (await settled(outer, policy)).error is outer
        assert told == [ERROR]

    async def test_raising_fails_the_job_with_that(self) -> None:
        worse = LookupError("worse")
        assert await settled(ERROR, exhausted(raising(worse))) == Outcome(What.fail, worse)

    async def test_that_hangs_fails_the_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.001)
        async with asyncio.timeout(PATIENCE):
            outcome = await settled(ERROR, exhausted(hang))
        assert (outcome.what, type(outcome.error)) == (What.fail, TimeoutError)

    async def test_missing_fails_the_job_with_its_error(self) -> None:
        assert await settled(ERROR, exhausted(None)) == Outcome(What.fail, ERROR)


class TestARescue:
    async def test_returning_is_success_and_the_error_is_kept(self) -> None:
        assert await settled(ERROR, rescuing(lambda job, error: "ignored")) == Outcome(What.succeed, ERROR)

    @pytest.mark.parametrize(
        ("raised", "what"),
        [
            (Retry(5), What.retry),
            (Snooze(5), What.snooze),
            (Discard(), What.discard),
            (Cancel(), What.cancel),
            (LookupError(), What.fail),
        ],
        ids=repr,
    )
    async def test_raising_decides(self, raised: BaseException, what: What) -> None:
        assert (await settled(ERROR, rescuing(raising(raised)))).what is what

    async def test_may_take_as_long_as_the_job(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with asyncio.timeout(PATIENCE):
            outcome = await settled(ERROR, rescuing(hang), limited())
        assert (outcome.what, type(outcome.error)) == (What.fail, TimeoutError)

        async def long(job: Job, error: BaseException) -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        monkeypatch.setattr(hook_calls, "HOOK_TIMEOUT", 0.0)
        assert (await settled(ERROR, rescuing(long))).what is What.succeed

    async def test_that_is_cancelled_says_nothing(self) -> None:
        started = asyncio.Event()

        async def handler(job: Job, error: BaseException) -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.ensure_future(settled(ERROR, rescuing(handler)))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_error_of_its_own_is_taken_by_no_declaration(self) -> None:
        @retry_on(LookupError)
        class Rescuing(Job, kind="settling.Rescuing"):
            async def perform(self) -> None:
                raise ERROR

            @rescue_from(ValueError)
            def rescue(self, error: BaseException) -> None:
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            await Rescuing().perform_now()
