"""Failed jobs in groups that have failed alike: which, how many, since when; and what is done with a group."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from asyncjobs import AsyncJobs, InvalidOption, job
from asyncjobs.failing.failures import Failed, grouped, line_of
from asyncjobs.failing.stored_errors import describe_error

HERE = Path(__file__)


@job(kind="failures.breaks")
async def breaks(how: str) -> None:
    if how == "value":
        raise ValueError(f"bad {uuid4()}")
    if how == "library":
        Path("/nowhere/at/all").read_text()
    try:
        int("x")
    except ValueError as error:
        raise RuntimeError("after that") from error


def line(text: str) -> str:
    number = next(n for n, each in enumerate(HERE.read_text().splitlines(), 1) if text in each)
    return f"{HERE}:{number}"


async def test_failed_jobs_are_grouped_by_kind_error_and_line(jobs: AsyncJobs) -> None:
    made = [breaks("value"), breaks("value"), breaks("value"), breaks("library"), breaks("chained")]
    await jobs.enqueue_all(made)
    for each in made:
        with pytest.raises(Exception, match="failed"):
            await each.result(timeout=30)
    found = await jobs.failures()
    assert [(group.total, group.error, group.line) for group in found.groups[:1]] == [
        (3, "builtins.ValueError", line('raise ValueError(f"bad')),
    ]
    assert {(group.error, group.line) for group in found.groups[1:]} == {
        ("builtins.FileNotFoundError", line('Path("/nowhere/at/all")')),
        ("builtins.RuntimeError", line('raise RuntimeError("after')),
    }
    assert (found.looked_at, found.is_complete) == (5, True)
    values = found.groups[0]
    assert values.first <= values.last
    assert values.message.startswith("bad ")
    assert (await jobs.get(values.newest)).kind == values.kind == "failures.breaks"


async def test_a_group_is_retried_and_discarded_and_nothing_else(
    jobs: AsyncJobs, make_jobs: Any, connection: asyncpg.Connection
) -> None:
    made = [*(breaks("value") for _ in range(3)), breaks("chained")]
    await jobs.enqueue_all(made)
    for each in made:
        with pytest.raises(Exception, match="failed"):
            await each.result(timeout=30)
    values, chained = (await jobs.failures()).groups
    assert await jobs.retry_all(group=values.id, dry_run=True) == 3
    assert await jobs.discard_all(group=values.id) == 3
    assert [group.id for group in (await jobs.failures()).groups] == [chained.id]
    assert await jobs.retry_all(group=chained.id) == 1
    with pytest.raises(Exception, match="failed"):
        await made[-1].result(timeout=30)
    [again] = (await jobs.failures()).groups
    assert (again.id, again.total) == (chained.id, 1)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({"group": "nothing"}, "is no id of a group"),
        ({"group": 7}, "is no id of a group"),
        ({"group": "0123456789"}, "no group 0123456789 among the failed jobs that there are"),
        ({"group": "0123456789", "kind": "k"}, "leave out kind=, error= and state="),
        ({"group": "0123456789", "state": "failed"}, "leave out kind=, error= and state="),
    ],
)
async def test_what_is_no_group_is_refused(client: AsyncJobs, which: Any, says: str) -> None:
    with pytest.raises(InvalidOption, match=says):
        await client.retry_all(**which)


async def test_there_is_nothing_to_cancel_in_a_group(client: AsyncJobs) -> None:
    with pytest.raises(InvalidOption, match="retry or discard them"):
        await client.cancel_all(group="0123456789")


async def test_of_a_long_history_the_newest_are_looked_at_and_it_says_so(
    client: AsyncJobs, connection: asyncpg.Connection
) -> None:
    await connection.execute(
        "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, kind, queue, args, "
        "errors) select asyncjobs.new_id(), 1, current_date + 1, now(), 1, 0, 5, 0, 'k', 'q', '{}', 'no error of ours' "
        "from generate_series(1, 2100)"
    )
    found = await client.failures()
    [group] = found.groups
    assert (group.total, group.error, group.line, found.looked_at, found.is_complete) == (2000, "", "", 2000, False)
    assert await client.discard_all(group=group.id) == 2100  # all of it, and not what was looked at


def test_in_a_group_of_errors_it_is_the_line_of_the_group_itself() -> None:
    try:
        try:
            raise ValueError("part")
        except ValueError as part:
            raise ExceptionGroup("parts", [part]) from None
    except ExceptionGroup as error:
        text = "".join(traceback.format_exception(error))
    assert line_of(text) == line('raise ExceptionGroup("parts"')


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        ("the process died", ""),
        ('Traceback (most recent call last):\n  File "/app/x.py", line 7, in f\n  File "/v/site-packages/lib.py", line 9, in g\n', "/app/x.py:7"),
        ('Traceback (most recent call last):\n  File "/v/site-packages/lib.py", line 9, in g\n', "/v/site-packages/lib.py:9"),
        ('Traceback (most recent call last):\n  File "/app/x.py", line 7, in f\n  File "<frozen importlib>", line 9, in g\n', "/app/x.py:7"),
        ('Traceback (most recent call last):\n  File "/app/x.py", line 7\n  File "/usr/lib/python3.12/json/decoder.py", line 9\n', "/app/x.py:7"),
    ],
)  # fmt: skip
def test_the_line_is_the_innermost_of_the_users_code(text: str, found: str) -> None:
    assert line_of(text) == found


def test_the_id_of_a_group_is_the_same_on_every_machine_and_day() -> None:
    error = describe_error(ValueError("x"), attempt=1)
    times = [datetime(2030, 1, day, tzinfo=UTC) for day in (2, 1, 3)]
    [group] = grouped(Failed(uuid4(), "k", at, error) for at in times)
    assert (group.first, group.last, group.total) == (times[1], times[2], 3)
    assert group.id == grouped([Failed(uuid4(), "k", times[0], describe_error(ValueError("y"), attempt=4))])[0].id
