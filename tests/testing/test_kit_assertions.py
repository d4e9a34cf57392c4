from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import kit_jobs
import pytest
from kit_jobs import at_times, broken, flaky, gives_up, send_welcome

from asyncjobs import InvalidOption
from asyncjobs.testing import Jobs


@pytest.fixture(autouse=True)
def _lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit_jobs, "LINES", tmp_path / "lines")
    kit_jobs.reset()


async def test_a_block_that_enqueues_what_is_expected_passes_and_gives_the_job(jobs: Jobs) -> None:
    async with jobs.expect(send_welcome, user_id=42, queue="mailers") as expected:
        await send_welcome(42).enqueue()
    assert [job.kind for job in expected.jobs] == [send_welcome.kind]


async def test_what_was_enqueued_before_the_block_does_not_count(jobs: Jobs) -> None:
    await send_welcome(42).enqueue()
    with pytest.raises(AssertionError, match=r"enqueued 0 times, not once or more; enqueued was:\n  nothing"):
        async with jobs.expect(send_welcome, user_id=42):
            pass


async def test_a_failed_expectation_says_what_was_enqueued_instead_and_what_is_otherwise(jobs: Jobs) -> None:
    with pytest.raises(AssertionError) as failure:
        async with jobs.expect(send_welcome, user_id=42, queue="mailers"):
            await send_welcome(41).set(queue="low").enqueue()
            await broken().enqueue()
    text = str(failure.value)
    assert "send_welcome(user_id=42), queue='mailers' was enqueued 0 times" in text
    assert "send_welcome(user_id=41, template='hello') in queue 'low', ready <- queue is 'low'; user_id is 41" in text
    assert "broken() in queue 'default', ready" in text


@pytest.mark.parametrize(("made", "options", "fits"), [
    (2, {"count": 2}, True), (2, {"times": 2}, True), (1, {"count": 2}, False), (3, {"times": 2}, False),
    (0, {"count": 0}, True), (1, {"count": 0}, False), (3, {}, True),
])  # fmt: skip
async def test_a_count_is_exact_and_without_one_any_number_above_zero_fits(jobs: Jobs, made, options, fits) -> None:
    async def body() -> None:
        async with jobs.expect(send_welcome, **options):
            for number in range(made):
                await send_welcome(number).enqueue()

    if fits:
        await body()
    else:
        with pytest.raises(AssertionError):
            await body()


async def test_an_error_of_the_block_is_raised_and_not_the_missing_job(jobs: Jobs) -> None:
    with pytest.raises(LookupError):
        async with jobs.expect(send_welcome):
            raise LookupError


async def test_an_argument_that_is_named_like_an_option_goes_into_args(jobs: Jobs) -> None:
    now = datetime.now(UTC)
    await at_times(now, queue="left").enqueue()
    await jobs.assert_enqueued(at_times, args={"queue": "left"}, queue="default")
    with pytest.raises(AssertionError):
        await jobs.assert_enqueued(at_times, args={"queue": "right"})
    with pytest.raises(AssertionError):
        await jobs.assert_enqueued(at_times, queue="left")


async def test_arguments_are_compared_in_their_types_and_matchers_work(jobs: Jobs) -> None:
    now = datetime.now(UTC)
    await at_times(now, names={"a", "b"}).enqueue()
    await jobs.assert_enqueued(at_times, when=now, names={"b", "a"})
    await jobs.assert_enqueued(at_times, when=ANY)
    await jobs.refute_enqueued(at_times, when=now + timedelta(microseconds=1))


async def test_an_argument_that_the_job_has_not_is_refused_with_those_it_has(jobs: Jobs) -> None:
    with pytest.raises(InvalidOption, match="has no argument 'userid': it has user_id, template"):
        jobs.expect(send_welcome, userid=1)
    with pytest.raises(InvalidOption, match="one of them"):
        jobs.expect(send_welcome, count=1, times=1)


async def test_a_time_is_met_within_a_second(jobs: Jobs) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    await send_welcome(1).set(at=at).enqueue()
    await jobs.assert_enqueued(send_welcome, at=at + timedelta(milliseconds=900))
    await jobs.refute_enqueued(send_welcome, at=at + timedelta(seconds=2))


async def test_an_enqueued_job_is_given_back_and_a_performed_one_is_enqueued_no_more(jobs: Jobs) -> None:
    await send_welcome(7).enqueue()
    found = await jobs.assert_enqueued(send_welcome, user_id=7)
    with pytest.raises(AssertionError, match=r"is enqueued:\n.*user_id=7"):
        await jobs.refute_enqueued(send_welcome)
    assert await jobs.perform(found) == "hello 7"
    await jobs.refute_enqueued(send_welcome)
    with pytest.raises(AssertionError, match="is enqueued 0 times, not once or more; there is:\n.*succeeded"):
        await jobs.assert_enqueued(send_welcome)


async def test_performed_means_succeeded_and_otherwise_the_error_is_shown(jobs: Jobs) -> None:
    for job in (send_welcome(1), broken(), gives_up(), flaky(1)):
        await job.enqueue()
    await jobs.perform_enqueued()
    await jobs.assert_performed(send_welcome, user_id=1, count=1)
    with pytest.raises(AssertionError, match="failed, attempt 1: ValueError: broken by intent"):
        await jobs.assert_performed(broken)
    await jobs.assert_performed(broken, state="failed")
    await jobs.assert_performed(gives_up, state="discarded")
    with pytest.raises(AssertionError, match=r"scheduled for .*, attempt 1: ConnectionError: no answer"):
        await jobs.assert_performed(flaky)
    with pytest.raises(InvalidOption, match="no end of a job"):
        await jobs.assert_performed(flaky, state="ready")


async def test_tags_and_meta_are_looked_for_among_others(jobs: Jobs) -> None:
    async with jobs.expect(send_welcome, tags=("import",), meta={"customer": "acme"}):
        await send_welcome(42).set(tags=("import", "nightly"), meta={"customer": "acme", "source": "api"}).enqueue()
    await jobs.assert_enqueued(send_welcome, tags=("nightly", "import"))
    await jobs.refute_enqueued(send_welcome, tags=("hourly",))
    with pytest.raises(AssertionError) as failure:
        await jobs.assert_enqueued(send_welcome, tags=("hourly",), meta={"customer": "other"})
    assert "tags=('hourly',), meta={'customer': 'other'} is enqueued 0 times" in str(failure.value)
    assert "tags is ('import', 'nightly'); meta is {'customer': 'acme', 'source': 'api'}" in str(failure.value)
    with pytest.raises(InvalidOption, match="tags='hourly' is a string"):
        await jobs.assert_enqueued(send_welcome, tags="hourly")
    await jobs.perform_enqueued()
    await jobs.assert_performed(send_welcome, meta={"source": "api"})
