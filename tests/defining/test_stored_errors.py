"""The stored traceback begins at the user's code, and has all that came of it."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs import AsyncJobs, Job, JobFailed, before_perform, job
from asyncjobs.failing.stored_errors import describe_error, last_error, read_errors
from asyncjobs.values import codec


@job(kind="stored_errors.plain")
async def plain() -> None:
    raise ValueError("from a coroutine")


@job(kind="stored_errors.thread")
def thread() -> None:
    raise ValueError("from a thread")


class Hooked(Job, kind="stored_errors.Hooked"):
    @before_perform
    async def prepare(self) -> None: ...

    async def perform(self) -> None:
        raise ValueError("after a hook")


@job(kind="stored_errors.chained")
async def chained() -> None:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ValueError("the effect") from error


@job(kind="stored_errors.group")
async def group() -> None:
    raise ExceptionGroup("several", [ValueError("one"), ExceptionGroup("more", [OSError("two")])])


@job(kind="stored_errors.through")
async def through() -> None:
    await plain().perform_now()


@job(kind="stored_errors.typed")
async def typed(number: int) -> None: ...


@pytest.fixture
async def failed(make_jobs: Any) -> Any:
    async with make_jobs().running() as jobs:

        async def failed(made: Job[Any]) -> str:
            await jobs.enqueue(made)
            with pytest.raises(JobFailed) as raised:
                await made
            return raised.value.traceback

        yield failed


def files(traceback: str) -> list[str]:
    """The file of each frame of what was raised last."""
    last = traceback[traceback.rindex("Traceback (most recent call last)") :]
    return [line.split('"')[1].rsplit("/", 2)[-2:][-1] for line in last.splitlines() if '  File "' in line]


@pytest.mark.parametrize("made", [plain, thread, Hooked, chained])
async def test_a_traceback_begins_at_the_jobs_own_code(failed: Any, made: Any) -> None:
    assert files(await failed(made())) == ["test_stored_errors.py"]


async def test_causes_are_shown_each_from_the_users_code_on(failed: Any) -> None:
    text = await failed(chained())
    assert "KeyError: 'the cause'" in text
    assert "The above exception was the direct cause" in text
    assert text.index("the cause") < text.index("ValueError: the effect")
    assert "runner.py" not in text and "running.py" not in text


def test_the_message_of_a_group_names_its_first_error() -> None:
    [stored] = read_errors(
        describe_error(ExceptionGroup("several", [ExceptionGroup("x", [OSError("two")])]), attempt=1)
    )
    assert stored.message == "several (1 sub-exception): OSError: two"


async def test_every_error_of_a_group_is_shown(failed: Any) -> None:
    text = await failed(group())
    for part in ("ExceptionGroup: several", "ValueError: one", "ExceptionGroup: more", "OSError: two"):
        assert part in text
    assert "runner.py" not in text and "running.py" not in text


async def test_frames_of_asyncjobs_in_the_middle_stay(failed: Any) -> None:
    found = files(await failed(through()))
    assert (found[0], found[-1]) == ("test_stored_errors.py", "test_stored_errors.py")
    assert "lifecycle.py" in found


async def test_what_asyncjobs_itself_raised_keeps_its_frames(jobs: AsyncJobs, connection: Any) -> None:
    job_id = await connection.fetchval("select asyncjobs.enqueue('stored_errors.typed', '{\"number\": \"x\"}')")
    made = await jobs.get(job_id)
    with pytest.raises(JobFailed) as raised:
        await made
    assert "arguments.py" in raised.value.traceback


def test_a_circle_of_causes_is_shown_once() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    [stored] = read_errors(describe_error(one, attempt=1))
    assert stored.traceback.count("ValueError: two") == 1


def test_an_error_that_cannot_be_shown_is_stored_all_the_same() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert codec.loads(describe_error(Odd(), attempt=1))["message"].startswith("<its message cannot be read")


def test_a_group_whose_parts_are_shared_is_stored_without_the_text_of_each() -> None:
    error: Exception = ValueError("leaf")
    for _ in range(40):
        error = ExceptionGroup("g", [error, error])
    [stored] = read_errors(describe_error(error, attempt=1))
    assert stored.message.endswith("ValueError: leaf")
    assert "none is shown" in stored.traceback


def test_a_long_chain_is_stored_without_the_text_of_each() -> None:
    error = last = ValueError("first")
    for number in range(5_000):
        last.__cause__ = last = ValueError(f"number {number}")
    [stored] = read_errors(describe_error(error, attempt=1))
    assert "none is shown" in stored.traceback


def test_the_last_of_stored_errors_is_read_alone() -> None:
    lines = [describe_error(ValueError(f"number {n}"), attempt=n) for n in (1, 2)]
    assert last_error("\n".join(lines)) == read_errors("\n".join(lines))[-1]
    assert last_error(None) is last_error("") is None
