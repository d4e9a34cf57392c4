from __future__ import annotations

import asyncpg
import kit_jobs
import pytest
from kit_jobs import (
    Assigning,
    again,
    asks,
    broken,
    flaky,
    gives_up,
    parent,
    send_welcome,
    sleeps,
    soon,
    waits_for_later,
)  # fmt: skip

from asyncjobs import AssignmentNotSaved, InvalidOption, JobDiscarded, JobFailed, Unique, emit
from asyncjobs.testing import Jobs, performing
from tests.support.processes import PATIENCE


@pytest.fixture(autouse=True)
def _lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kit_jobs, "LINES", tmp_path / "lines")
    kit_jobs.reset()


async def test_everything_ready_is_performed_in_the_order_of_priority_and_counted(jobs: Jobs) -> None:
    for number in (1, 2, 3):
        await send_welcome(number).set(priority=-number).enqueue()
    assert await jobs.perform_enqueued() == 3
    assert kit_jobs.lines() == ["hello-3", "hello-2", "hello-1"]
    assert await jobs.perform_enqueued() == 0


async def test_arguments_that_the_job_does_not_take_fail_it_at_once(jobs: Jobs) -> None:
    connection = await asyncpg.connect(jobs.database_url)
    sql = f"""select asyncjobs.enqueue('{send_welcome.kind}', '{{"user": 1}}')"""
    made = await connection.fetchval(sql)
    await connection.close()
    assert await jobs.perform_enqueued() == 1
    status = await jobs.status(made)
    assert status.state == "failed"
    assert "user: no argument of this job; did you mean user_id?" in status.errors[0].message


async def test_what_a_step_assigns_and_nothing_saves_warns_in_the_test(jobs: Jobs) -> None:
    await Assigning().enqueue()
    with pytest.warns(AssignmentNotSaved, match=r"self\.total") as found:
        assert await jobs.perform_enqueued() == 1
    assert [each.filename for each in found] == [kit_jobs.__file__]


async def test_a_job_that_waits_for_others_has_them_performed_meanwhile(jobs: Jobs) -> None:
    job = await parent(3).enqueue()
    assert await jobs.perform_enqueued() == 4
    assert await job == 3


async def test_a_job_that_waits_for_one_that_is_not_due_fails_the_test_and_is_given_back(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performing, "STUCK", 0.2)
    job = await waits_for_later().enqueue()
    with pytest.raises(AssertionError, match="waited for 0.2 s for another that is not ready"):
        await jobs.perform_enqueued()
    assert (await job.status()).state == "ready"


async def test_jobs_without_an_end_fail_the_test(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "MOST_ATTEMPTS", 5)
    await again().enqueue()
    with pytest.raises(AssertionError, match="6 attempts were run and kit_jobs.again is ready still"):
        await jobs.perform_enqueued()


async def test_a_retry_is_performed_when_it_is_due_and_not_before(jobs: Jobs) -> None:
    job = await flaky(1).enqueue()
    assert await jobs.perform_enqueued() == 1
    assert await jobs.perform_enqueued() == 0
    await jobs.travel(seconds=59)
    assert await jobs.perform_enqueued() == 0
    await jobs.travel(seconds=2)
    assert await jobs.perform_enqueued() == 1
    assert await job == 1
    assert kit_jobs.lines() == ["attempt-1", "attempt-2"]


async def test_only_jobs_of_the_kinds_and_queues_that_are_named_are_performed(jobs: Jobs) -> None:
    await send_welcome(1).enqueue()
    await send_welcome(2).set(queue="low").enqueue()
    await flaky(0).enqueue()
    assert await jobs.perform_enqueued(queue="low") == 1
    assert await jobs.perform_enqueued(flaky, queue=["low", "mailers"]) == 0
    assert await jobs.perform_enqueued([flaky, broken]) == 1
    assert await jobs.perform_enqueued(send_welcome) == 1


async def test_one_job_is_performed_and_no_other_whether_it_is_due_or_not(jobs: Jobs) -> None:
    await send_welcome(1).enqueue()
    later = send_welcome(2).set(wait=3600)
    assert await jobs.perform(later) == "hello 2"
    assert await jobs.perform(send_welcome(3)) == "hello 3"
    await jobs.assert_enqueued(send_welcome, user_id=1)


async def test_performing_one_job_raises_its_end_and_gives_none_when_it_has_none_yet(jobs: Jobs) -> None:
    with pytest.raises(JobFailed, match="broken by intent"):
        await jobs.perform(broken())
    with pytest.raises(JobDiscarded):
        await jobs.perform(gives_up())
    job = flaky(1)
    assert await jobs.perform(job) is None
    assert (await job.status()).state == "scheduled"
    assert await jobs.perform(job) == 1


async def test_the_window_of_a_unique_key_and_a_pause_end_when_one_has_travelled_beyond_them(jobs: Jobs) -> None:
    unique = Unique(window=60)
    first = await send_welcome(1).set(unique=unique).enqueue()
    await jobs.perform_enqueued()
    await jobs.travel(seconds=59)
    assert (await send_welcome(1).set(unique=unique).enqueue()).id == first.id
    await jobs.travel(seconds=2)
    assert (await send_welcome(1).set(unique=unique).enqueue()).disposition == "enqueued"
    await jobs.pause(queue="mailers", until=60)
    assert await jobs.perform_enqueued() == 0
    await jobs.travel(minutes=2)
    assert await jobs.perform_enqueued() == 1


async def test_a_durable_sleep_ends_when_one_has_travelled_beyond_it(jobs: Jobs) -> None:
    job = await sleeps().enqueue()
    await jobs.perform_enqueued()
    await jobs.travel(hours=7)
    assert await jobs.perform_enqueued() == 0
    await jobs.travel(hours=1)
    assert await jobs.perform_enqueued() == 1
    assert await job == "rested"


async def test_a_wait_for_an_event_ends_with_the_event_or_when_one_has_travelled_beyond_its_limit(jobs: Jobs) -> None:
    answered, forgotten = await asks().enqueue(), asks()
    await jobs.perform_enqueued()
    await emit("approved", key=1, payload="yes")
    await jobs.perform_enqueued()
    assert await answered == "yes"
    await forgotten.enqueue()
    await jobs.perform_enqueued()
    await jobs.travel(days=6)
    assert await jobs.perform_enqueued() == 0
    await jobs.travel(days=1)
    await jobs.perform_enqueued()
    assert await forgotten == "nobody answered"


async def test_a_job_expires_when_one_has_travelled_beyond_its_time(jobs: Jobs) -> None:
    await soon().enqueue()
    await jobs.travel(minutes=2)
    await jobs.perform_enqueued()
    await jobs.assert_performed(soon, state="discarded")


async def test_there_is_no_way_back_in_time(jobs: Jobs) -> None:
    for duration in ({"hours": -1}, {}):
        with pytest.raises(InvalidOption, match="no way back"):
            await jobs.travel(**duration)


async def test_a_worker_runs_beside_the_test_when_it_is_asked_to(jobs: Jobs) -> None:
    async with jobs.running():
        assert await (await flaky(0).enqueue()).result(timeout=PATIENCE) == 0
    await jobs.assert_performed(flaky, times=1)


@pytest.mark.parametrize(
    ("given", "named"), [((3,), {}), ((), {"weaks": 3}), ((), {"days": 1e12}), ((), {}), ((), {"hours": -1})], ids=str
)
async def test_what_is_no_way_to_travel_is_refused(
    jobs: Jobs, given: tuple[object, ...], named: dict[str, float]
) -> None:
    with pytest.raises(InvalidOption, match="travel takes .* such as hours=1"):
        await jobs.travel(*given, **named)
