"""How running jobs end: every write is checked against id and fence, and a lost answer is told from a lost lease."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from db_rows import claim, make_worker, pinned, put, states, succeeded

from asyncjobs.db import jobs, steps, workers
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.records.claimed import Claimed
from asyncjobs.records.step_records import Write
from tests.support.asking import until_blocked
from tests.support.processes import PATIENCE


@pytest.fixture
def worker(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> UUID:
    return complete(make_worker(connection))


async def running(session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID, n: int) -> list[Claimed]:
    """So many running jobs, in the order of their ids."""
    await put(connection, n)
    return sorted(await claim(session, worker, n), key=lambda job: job.id)


class TestFinish:
    async def test_the_job_moves_to_the_history_with_all_that_is_known_of_it(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        before = dict(await connection.fetchrow("select * from asyncjobs.job"))
        assert await jobs.finish(worker_session, [succeeded(job, result='{"a":1}')]) == 1
        assert await connection.fetchval("select count(*) from asyncjobs.job") == 0
        after = dict(await connection.fetchrow("select * from asyncjobs.finished"))
        same = ("id", "fence", "enqueued_at", "started_at", "attempt", "priority", "crashes", "kind", "queue", "args")
        assert [after[name] for name in same] == [before[name] for name in same]
        assert (after["state"], after["result"], after["errors"], after["reason"]) == (4, '{"a":1}', None, None)
        assert after["finished_at"] >= after["started_at"]

    @pytest.mark.parametrize("state", [State.succeeded, State.failed, State.discarded, State.cancelled])
    async def test_a_job_that_was_asked_to_be_cancelled_is_cancelled_however_it_ended(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID, state: State
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        async with connection.transaction():  # a cancel that has its lock when the end is written
            assert await connection.fetchval("select asyncjobs.cancel($1, 'enough')", job.id) == "cancelling"
            end = succeeded(job, state=state, result="1", error='{"attempt":1}', reason="its own")
            finishing = asyncio.ensure_future(jobs.finish(worker_session, [end]))
            await until_blocked(connection)
        assert await finishing == 1
        row = await connection.fetchrow("select state, result, errors, reason from asyncjobs.finished")
        reason = "its own" if state is State.cancelled else "enough"
        assert row is not None and tuple(row) == (7, None, '{"attempt":1}', reason)

    async def test_an_end_without_its_steps_is_one_transaction_and_a_cancel_holds_for_it_too(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        first, second = await running(worker_session, connection, worker, 2)
        for job in (first, second):
            write = Write(1, "s", "succeeded", "1", None, None, 0.0, "{}", None)
            assert await steps.record(worker_session, [(job.id, job.fence, write)]) == {job.id}
        assert await connection.fetchval("select asyncjobs.cancel($1, 'enough')", second.id) == "cancelling"
        end = Finish(first.id, first.fence, State.failed, "1", '{"attempt":1}', None, 7)
        assert await jobs.finish_without_steps(worker_session, [end._replace(fence=first.fence + 100)]) == 0
        assert await connection.fetchval("select count(*) from asyncjobs.step") == 2
        for job in (first, second):
            assert await jobs.finish_without_steps(worker_session, [end._replace(id=job.id, fence=job.fence)]) == 1
        rows = await connection.fetch(
            "select state, result, errors, reason, progress, steps from asyncjobs.finished order by state"
        )
        assert [tuple(row) for row in rows] == [
            (5, None, '{"attempt":1}', None, None, None), (7, None, '{"attempt":1}', "enough", None, None)
        ]  # fmt: skip
        assert await connection.fetchval("select count(*) from asyncjobs.step") == 0

    async def test_each_end_of_a_batch_keeps_what_is_its_own(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        batch = await running(worker_session, connection, worker, 4)
        ends = [
            succeeded(batch[0], result="1", days=1),
            succeeded(batch[1], state=State.failed, error='{"attempt":1}', days=2),
            succeeded(batch[2], state=State.discarded, reason="why", days=3),
            succeeded(batch[3], state=State.cancelled, reason="who", days=4),
        ]
        assert await jobs.finish(worker_session, ends) == 4
        today = await connection.fetchval("select (clock_timestamp() at time zone 'UTC')::date")
        rows = {row["id"]: row for row in await connection.fetch("select * from asyncjobs.finished")}
        found = [rows[job.id] for job in batch]
        assert [row["state"] for row in found] == [4, 5, 6, 7]
        assert [row["result"] for row in found] == ["1", None, None, None]
        assert [row["errors"] for row in found] == [None, '{"attempt":1}', None, None]
        assert [row["reason"] for row in found] == [None, None, "why", "who"]
        assert [row["expires_on"] - today for row in found] == [timedelta(days=n) for n in (1, 2, 3, 4)]

    async def test_errors_of_earlier_attempts_stay_in_front(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        await connection.execute("update asyncjobs.job set errors = 'first'")
        await jobs.finish(worker_session, [succeeded(job, state=State.failed, error="second")])
        assert await connection.fetchval("select errors from asyncjobs.finished") == "first\nsecond"

    async def test_those_who_wait_are_told_of_every_job_in_notices_that_fit(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        batch = await running(worker_session, connection, worker, 500)
        awaited = {job.id for job in batch[:450]}
        assert await jobs.await_jobs(connection, list(awaited)) == awaited
        told = {str(job_id)[:18] for job_id in awaited}
        payloads: list[str] = []
        heard: set[str] = set()
        everything = asyncio.Event()

        def notified(*given: str) -> None:
            payloads.append(given[3])
            heard.update(given[3].split(","))
            if heard == told:
                everything.set()

        await connection.add_listener("asyncjobs_done", notified)
        assert await jobs.finish(worker_session, [succeeded(job) for job in batch]) == 500
        async with asyncio.timeout(PATIENCE):
            await everything.wait()
        assert len(payloads) == 3
        assert max(len(payload.encode()) for payload in payloads) < 8_000


class TestTheFence:
    async def test_a_stale_one_changes_nothing(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        for stale in (job.fence - 1, job.fence + 1, 0, -1):
            assert await jobs.finish(worker_session, [succeeded(job, fence=stale)]) == 0
            assert await jobs.reschedule(worker_session, [Reschedule(job.id, stale)]) == 0
        assert await states(connection) == {job.id: 2}

    async def test_a_zombie_cannot_end_what_another_worker_runs_now(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [zombies] = await running(worker_session, connection, worker, 1)
        await workers.end(connection, worker)
        assert await jobs.rescue(connection, 10) == 1
        heir = await make_worker(connection)
        [ours] = await claim(worker_session, heir)
        assert ours.id == zombies.id
        assert await jobs.finish(worker_session, [succeeded(zombies)]) == 0
        assert await jobs.reschedule(worker_session, [Reschedule(zombies.id, zombies.fence)]) == 0
        assert await jobs.finished_with_fence(worker_session, [succeeded(zombies)]) == set()
        assert await jobs.finish(worker_session, [succeeded(ours)]) == 1
        assert await jobs.finished_with_fence(worker_session, [succeeded(zombies)]) == set()

    async def test_nothing_but_id_and_fence_is_asked(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        await connection.execute("update asyncjobs.job set state = 1, worker = gen_random_uuid(), queue = 'other'")
        assert await jobs.finish(worker_session, [succeeded(job)]) == 1

    async def test_stale_ones_in_a_batch_take_nothing_from_the_others(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        batch = await running(worker_session, connection, worker, 10)
        ends = [succeeded(job, fence=job.fence + (number % 2) * 1_000) for number, job in enumerate(batch)]
        assert await jobs.finish(worker_session, ends) == 5
        assert await jobs.finished_with_fence(worker_session, ends) == {job.id for job in batch[::2]}

    async def test_a_lost_answer_is_found_again_by_id_and_fence(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        batch = await running(worker_session, connection, worker, 10)
        ends = [succeeded(job) for job in batch]
        assert await jobs.finish(worker_session, ends) == 10
        assert await jobs.finish(worker_session, ends) == 0  # sent again
        assert await jobs.finished_with_fence(worker_session, ends) == {job.id for job in batch}

    async def test_a_row_that_an_await_is_just_marking_is_waited_for_and_moved(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID, url: str
    ) -> None:
        [job] = await running(worker_session, connection, worker, 1)
        transaction = connection.transaction()
        await transaction.start()
        await jobs.await_jobs(connection, [job.id])
        finishing = asyncio.ensure_future(jobs.finish(worker_session, [succeeded(job)]))
        looking = await pinned(url)
        await until_blocked(looking)
        looking.terminate()
        await transaction.commit()
        assert await finishing == 1

    async def test_two_that_finish_the_same_rows_at_once_never_deadlock(
        self, url: str, connection: asyncpg.Connection, worker_session: asyncpg.Connection, worker: UUID
    ) -> None:
        sessions = [await pinned(url) for _ in range(6)]
        for _ in range(5):
            batch = await running(worker_session, connection, worker, 100)
            ends = [succeeded(job) for job in batch]
            held = [Reschedule(job.id, job.fence) for job in batch]
            moved = await asyncio.gather(
                *(jobs.finish(session, ends) for session in sessions[:3]),
                *(jobs.reschedule(session, held) for session in sessions[3:5]),
                jobs.await_jobs(sessions[5], [job.id for job in reversed(batch)]),
            )
            assert sum(count for count in moved[:5] if isinstance(count, int)) == 100
        for session in sessions:
            session.terminate()


class TestRelease:
    async def test_it_gives_back_unspent_at_its_place(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, worker: UUID
    ) -> None:
        [first] = await running(worker_session, connection, worker, 1)
        [second] = await put(connection, 1)
        assert await jobs.reschedule(worker_session, [Reschedule(first.id, first.fence)]) == 1
        row = await connection.fetchrow("select * from asyncjobs.job where id = $1", first.id)
        assert (row["state"], row["attempt"], row["crashes"], row["fence"]) == (1, 0, 0, -first.fence)
        assert (row["worker"], row["started_at"]) == (None, None)
        again = await claim(worker_session, worker)
        assert [(job.id, job.attempt) for job in again] == [(first.id, 1), (second, 1)]


class TestPromote:
    async def test_due_jobs_become_ready_oldest_first_and_the_next_ones_time_is_told(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        made = await put(connection, 3, delay=0.0)
        for age, job_id in enumerate(made):
            await connection.execute(
                "update asyncjobs.job set state = 0, run_at = now() - make_interval(secs => $2) where id = $1",
                *(job_id, float(age + 1)),
            )
        [later] = await put(connection, 1, delay=500.0)
        promoted, next_due = await jobs.promote(worker_session, 2)
        assert promoted == 2
        assert 495 < next_due < 500
        found = await connection.fetch("select id from asyncjobs.job where state = 1 order by seq")
        assert [row["id"] for row in found] == [made[2], made[1]]
        assert (await jobs.promote(worker_session, 10))[0] == 1
        assert (await states(connection))[later] == 0

    async def test_an_empty_table_has_no_next_time(self, worker_session: asyncpg.Connection) -> None:
        assert await jobs.promote(worker_session, 10) == (0, None)

    async def test_many_at_once_promote_each_job_once(self, url: str, connection: asyncpg.Connection) -> None:
        await put(connection, 400, delay=0.0)
        await connection.execute("update asyncjobs.job set state = 0, run_at = now() - interval '1 s'")
        sessions = [await pinned(url) for _ in range(4)]
        counts = await asyncio.gather(*(jobs.promote(session, 100) for session in sessions))
        left = (await jobs.promote(sessions[0], 1_000))[0]
        assert sum(count for count, _ in counts) + left == 400
        assert await connection.fetchval("select count(distinct seq) from asyncjobs.job where state = 1") == 400
        for session in sessions:
            session.terminate()


def test_the_ends_of_a_batch_sort_by_id() -> None:
    ends = [Finish(UUID(int=n), 5, 4, None, None, None, 7) for n in (3, 1, 2)]
    assert [end.id.int for end in sorted(ends)] == [1, 2, 3]
