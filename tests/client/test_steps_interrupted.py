"""Steps of a worker that stops, of a job that is cancelled: nothing is spent, and what was done is not done again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import asyncpg
import pytest
from stopping import MakeJobs, at_gate, gates, here, ran, worker

from asyncjobs import AsyncJobs, Cursor, Job, JobCancelled, JobFailed, job, retry_on, step
from asyncjobs.db import steps
from asyncjobs.db.connecting import connect
from asyncjobs.failing.control_exceptions import Interrupted
from asyncjobs.performing import interruptions, lifecycle
from tests.support.asking import until_blocked
from tests.support.processes import until_so
from tests.support.sweeps import slowly

pytestmark = pytest.mark.usefixtures("gate")


class Export(Job, kind="interrupted.Export"):
    """Stops at its gate after so many rows, in its first run."""

    at: int
    rows: int = 20
    how: str = "each"

    @step
    async def before(self) -> None:
        ran.append("before")

    @step
    async def export(self, cursor: Cursor[int]) -> None:
        if self.how == "map":
            await cursor.map(self._send, range(1, self.rows + 1), concurrency=3)
        elif self.how == "advance":
            for n in range((cursor.value or 0) + 1, self.rows + 1):
                await self._send(n)
                await cursor.advance(n)
        else:
            async for n in cursor.each(range(1, self.rows + 1)):
                await self._send(n)

    async def _send(self, n: int) -> None:
        ran.append(str(n))
        if n == self.at and not gates["open"].is_set():
            await at_gate()

    @step
    async def after(self) -> None:
        ran.append("after")


ROWS = [str(n) for n in range(1, 21)]


@pytest.mark.parametrize("how", ["each", "advance", "map"])
async def test_a_worker_that_stops_interrupts_a_cursor_and_another_goes_on_from_it(
    client: AsyncJobs, make_jobs: MakeJobs, connection: asyncpg.Connection, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=20) as first:
        made = await Export(at=7, how=how).enqueue()
        await gates["arrived"].wait()
        stopping = asyncio.ensure_future(first.aclose())
        await until_so(lambda: here[0].stopping)
        gates["open"].set()
        await stopping
    row = await connection.fetchrow("select state, attempt, errors, worker from asyncjobs.job where id = $1", made.id)
    assert row is not None and tuple(row) == (1, 0, None, None)
    done = len(ran) - 1
    assert done < 20
    async with worker(make_jobs):
        await made.result(timeout=20)
    assert ran == ["before", *ROWS, "after"]
    status = await made.status()
    assert (status.attempt, status.errors) == (1, [])


@pytest.mark.parametrize("how", ["each", *slowly("advance", "map")])
async def test_a_row_that_outlasts_the_shutdown_is_cut_and_it_alone_is_repeated(
    client: AsyncJobs, make_jobs: MakeJobs, connection: asyncpg.Connection, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Export(at=7, how=how).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    row = await connection.fetchrow("select state, attempt, errors, worker from asyncjobs.job where id = $1", made.id)
    assert row is not None and tuple(row) == (1, 0, None, None)
    gates["open"].set()
    async with worker(make_jobs):
        await made.result(timeout=20)
    counts = Counter(ran)
    in_flight = {"7", "8", "9"} if how == "map" else {"7"}
    assert {name for name, count in counts.items() if count > 1} <= in_flight and counts["7"] == 2
    assert set(ran) == {"before", *ROWS, "after"}


@retry_on(Exception, wait=0)
class Dirty(Job, kind="interrupted.Dirty"):
    """Makes other errors of its cancellation."""

    how: str

    def _handler(self, error: BaseException) -> None:
        ran.append("handler")

    @step(on_error="_handler")
    async def work(self, cursor: Cursor[int]) -> None:
        ran.append("work")
        try:
            if len(ran) == 1:
                await at_gate()
        except asyncio.CancelledError:
            if self.how == "raises":
                raise ValueError("in its clean-up") from None
            raise
        finally:
            if self.how == "checkpoint":
                await cursor.checkpoint()


@pytest.mark.parametrize("how", ["raises", "checkpoint"])
async def test_an_error_of_its_clean_up_is_nobodys_and_handled_by_nobody(
    client: AsyncJobs, make_jobs: MakeJobs, connection: asyncpg.Connection, how: str
) -> None:
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Dirty(how=how).enqueue()
        await gates["arrived"].wait()
        await first.aclose()
    row = await connection.fetchrow("select state, attempt, errors from asyncjobs.job where id = $1", made.id)
    assert row is not None and tuple(row) == (1, 0, None) and ran == ["work"]


class Limited(Job, kind="interrupted.Limited", timeout=1):  # its step begins in that time
    @step
    async def work(self, cursor: Cursor[int]) -> None:
        ran.append("work")
        try:
            await asyncio.sleep(60)
        finally:
            await cursor.checkpoint()


async def test_a_checkpoint_in_the_clean_up_of_a_timeout_makes_it_no_interruption(jobs: AsyncJobs) -> None:
    with pytest.raises(JobFailed, match="TimeoutError"):
        await (await Limited().enqueue()).result(timeout=20)
    assert ran == ["work"]


class Stuck(Job, kind="interrupted.Stuck"):
    """Is interrupted without progress, so many times."""

    times: int

    @step
    async def work(self) -> None:
        ran.append("work")
        if len(ran) <= self.times:
            raise Interrupted("as if its worker stopped")


async def test_a_job_that_is_interrupted_again_and_again_without_progress_waits_longer_each_time(
    jobs: AsyncJobs, connection: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    interrupted = lifecycle.interrupted

    def quickly(*given: Any, **more: Any) -> Any:
        ending = interrupted(*given, **more)
        waits.append(ending.wait)
        return ending._replace(wait=min(ending.wait, 0.01))

    monkeypatch.setattr(lifecycle, "interrupted", quickly)
    made = await Stuck(times=9).enqueue()
    await made.result(timeout=20)
    assert waits == [0, 2, 4, 8, 16, 32, 60, 60, 60]
    status = await made.status()
    assert status.attempt == 1
    assert {error.type for error in status.errors} == {"asyncjobs.exceptions.JobInterrupted"}
    assert [error.message for error in status.errors][::8] == [
        "was interrupted without progress: as if its worker stopped",
        "was interrupted without progress, 9 times in a row: as if its worker stopped",
    ]


async def test_a_job_that_is_interrupted_too_often_in_a_row_fails_and_why_says_what_interrupted_it(
    client: AsyncJobs, make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruptions, "LONGEST_BACKOFF", 0.01)
    made = await Stuck(times=99).enqueue()
    async with worker(make_jobs, max_interruptions=3):
        with pytest.raises(JobFailed, match="4 times in a row: as if its worker stopped; max_interruptions is 3"):
            await made.result(timeout=20)
    assert ran == ["work"] * 4
    status = await made.status()
    assert (status.state, [error.type for error in status.errors]) == (
        "failed",
        ["asyncjobs.exceptions.JobInterrupted"] * 4,
    )


async def test_why_says_what_a_job_was_interrupted_by_that_waits_to_go_on(
    client: AsyncJobs, make_jobs: MakeJobs
) -> None:
    made = await Stuck(times=2).enqueue()

    async def is_put_off() -> bool:
        return (await made.status()).state == "scheduled"

    async with worker(make_jobs):
        await until_so(is_put_off)
        said = await client.why(made.id)
    assert "it was interrupted without progress, 2 times in a row: as if its worker stopped" in said


@job(kind="interrupted.plain")
async def plain() -> None:
    ran.append("plain")
    gates["arrived"].set()
    await gates["open"].wait()


async def test_workers_that_stop_again_and_again_under_a_job_without_progress_leave_a_trace_from_the_second_on(
    client: AsyncJobs, make_jobs: MakeJobs
) -> None:
    made = await plain().enqueue()
    for _ in range(2):
        gates["arrived"].clear()
        async with worker(make_jobs, shutdown_timeout=0.05):
            await gates["arrived"].wait()
    status = await made.status()
    assert (status.attempt, [error.message for error in status.errors]) == (
        0,
        ["was interrupted without progress, 2 times in a row: its worker stopped"],
    )


class Creeping(Job, kind="interrupted.Creeping"):
    """Is interrupted after a row each time."""

    @step
    async def work(self, cursor: Cursor[int]) -> None:
        for n in range((cursor.value or 0) + 1, 6):
            ran.append(str(n))
            await cursor.set(n)
            raise Interrupted("as if its worker stopped")


async def test_a_job_that_makes_progress_goes_on_at_once(jobs: AsyncJobs) -> None:
    await (await Creeping().enqueue()).result(timeout=20)
    assert ran == ["1", "2", "3", "4", "5"]


async def test_a_job_is_cancelled_during_a_step_and_keeps_what_it_has_recorded(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = await Export(at=7).enqueue()
    await gates["arrived"].wait()
    assert await made.cancel("enough")
    with pytest.raises(JobCancelled, match="enough"):
        await made.result(timeout=20)
    [row] = await connection.fetch("select state, steps::json as steps from asyncjobs.finished")
    assert row["state"] == 7
    steps = await connection.fetch(
        "select s->>'name' as name, s->>'state' as state, s->>'cursor' as cursor"
        " from asyncjobs.finished, json_array_elements(steps::json) as s"
    )
    assert [tuple(each) for each in steps] == [("before", "succeeded", None), ("export", "started", "6")]
    assert not await connection.fetchval("select count(*) from asyncjobs.step")


class Recording(Job, kind="interrupted.Recording"):
    @step
    async def work(self) -> None:
        ran.append("work")
        await at_gate()


async def test_a_step_that_is_done_is_recorded_though_the_job_is_cut_while_that_is_under_way(
    client: AsyncJobs, make_jobs: MakeJobs, connection: asyncpg.Connection, database_url: str
) -> None:
    other = await connect(database_url, is_lent=True)
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Recording().enqueue()
        await gates["arrived"].wait()
        async with other.transaction():
            await other.execute("select from asyncjobs.job for no key update")
            gates["open"].set()
            await until_blocked(connection)
            stopping = asyncio.ensure_future(first.aclose())
            await until_so(lambda: here[0].cancel_reason == "shutdown")
        await stopping
    other.terminate()
    row = await connection.fetchrow("select state, attempt, errors from asyncjobs.job where id = $1", made.id)
    assert row is not None and tuple(row) == (1, 0, None)
    async with worker(make_jobs):
        await made.result(timeout=20)
    assert ran == ["work"]


async def test_how_an_attempt_ended_is_written_after_what_it_has_recorded(
    client: AsyncJobs, make_jobs: MakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round the record would be refused, and the step done again."""
    record = steps.record

    async def slowly(*given: Any, **named: Any) -> Any:
        await until_so(lambda: here[0].cancel_reason == "shutdown")
        await asyncio.sleep(0.3)  # for an end that does not wait, to be written
        return await record(*given, **named)

    monkeypatch.setattr(steps, "record", slowly)
    async with worker(make_jobs, shutdown_timeout=0.1) as first:
        made = await Recording().enqueue()
        await gates["arrived"].wait()
        gates["open"].set()
        await first.aclose()
    async with worker(make_jobs):
        await made.result(timeout=20)
    assert ran == ["work"]
