"""The death rule, row by row, by writing times that are past; and the rescue of what the dead held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from db_rows import claim, make_worker, pinned, put, states, terminated

from asyncjobs.db import jobs, workers
from asyncjobs.db.connecting import connect

LEASE = 300.0
"""Seconds; a sixth is 50 and a fifth 60, and no machine is so slow that the ten seconds beside them matter."""


@pytest.fixture
def judge(connection: asyncpg.Connection, complete: Callable[[Any], Any]) -> UUID:
    """A worker whose own link has been whole long enough to judge others."""
    worker: UUID = complete(make_worker(connection, LEASE))
    complete(age(connection, worker, linked=600))
    return worker


@pytest.fixture
def session(url: str, complete: Callable[[Any], Any]) -> Iterator[asyncpg.Connection]:
    """Somebody else's session."""
    opened = complete(connect(url))
    yield opened
    complete(terminated(opened))


async def age(
    connection: asyncpg.Connection, worker: UUID, *, beat: float | None = None, linked: float | None = None
) -> None:
    """Move a worker's times into the past, in seconds."""
    await connection.execute(
        """update asyncjobs.worker set beat_at = coalesce(clock_timestamp() - make_interval(secs => $2), beat_at),
                                       linked_at = coalesce(clock_timestamp() - make_interval(secs => $3), linked_at)
           where id = $1""",
        *(worker, beat, linked),
    )


async def gone(url: str) -> tuple[int, object]:
    """Pid and start of a session that is over."""
    session = await connect(url)
    pid, start = await session.fetchrow("select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()")
    await session.close()
    return pid, start


async def with_dead_session(connection: asyncpg.Connection, url: str, beat: float) -> UUID:
    worker = await make_worker(connection, LEASE)
    pid, start = await gone(url)
    await connection.execute(
        "update asyncjobs.worker set backend_pid = $2, backend_start = $3 where id = $1", worker, pid, start
    )
    await age(connection, worker, beat=beat)
    return worker


class TestWhoIsDead:
    @pytest.mark.parametrize(("beat", "dead"), [(0, False), (40, False), (60, True), (290, True), (310, True)])
    async def test_silent_for_a_sixth_of_the_lease_and_the_session_gone(
        self, connection: asyncpg.Connection, url: str, judge: UUID, beat: float, dead: bool
    ) -> None:
        worker = await with_dead_session(connection, url, beat)
        assert list(await workers.bury(connection, judge)) == ([worker] if dead else [])

    @pytest.mark.parametrize(("beat", "dead"), [(60, False), (290, False), (310, True)])
    async def test_silent_for_the_whole_lease_though_the_session_lives(
        self, connection: asyncpg.Connection, session: asyncpg.Connection, judge: UUID, beat: float, dead: bool
    ) -> None:
        worker = await make_worker(session, LEASE)
        await age(connection, worker, beat=beat)
        assert list(await workers.bury(connection, judge)) == ([worker] if dead else [])

    async def test_a_session_whose_start_cannot_be_seen_counts_as_alive(
        self, connection: asyncpg.Connection, session: asyncpg.Connection, judge: UUID
    ) -> None:
        worker = await make_worker(session, LEASE)
        await connection.execute("update asyncjobs.worker set backend_start = null where id = $1", worker)
        await age(connection, worker, beat=100)
        assert await workers.bury(connection, judge) == {}

    async def test_a_process_id_that_came_again_is_another_session(
        self, connection: asyncpg.Connection, session: asyncpg.Connection, judge: UUID
    ) -> None:
        worker = await make_worker(session, LEASE)
        await connection.execute(
            "update asyncjobs.worker set backend_start = backend_start - interval '1 h' where id = $1", worker
        )
        await age(connection, worker, beat=100)
        assert list(await workers.bury(connection, judge)) == [worker]

    @pytest.mark.parametrize(("beat", "dead"), [(60, False), (290, False), (310, True)])
    async def test_of_one_without_a_session_of_its_own_the_whole_lease_decides(
        self, connection: asyncpg.Connection, judge: UUID, beat: float, dead: bool
    ) -> None:
        worker = await make_worker(connection, LEASE)
        await connection.execute(
            "update asyncjobs.worker set backend_pid = 0, backend_start = null where id = $1", worker
        )
        await age(connection, worker, beat=beat)
        assert list(await workers.bury(connection, judge)) == ([worker] if dead else [])

    async def test_nobody_is_buried_twice(self, connection: asyncpg.Connection, url: str, judge: UUID) -> None:
        await with_dead_session(connection, url, 600)
        assert len(await workers.bury(connection, judge)) == 1
        assert await workers.bury(connection, judge) == {}

    async def test_two_judges_at_once_bury_each_once(
        self, connection: asyncpg.Connection, url: str, judge: UUID, session: asyncpg.Connection
    ) -> None:
        for _ in range(10):
            await with_dead_session(connection, url, 600)
        other = await make_worker(session, LEASE)
        await age(connection, other, linked=600)
        found = await asyncio.gather(workers.bury(connection, judge), workers.bury(session, other))
        assert len(found[0]) + len(found[1]) == len({*found[0], *found[1]}) == 10


class TestWhoMayJudge:
    @pytest.mark.parametrize(
        ("linked", "beat", "may"),
        [(600, 0, True), (70, 50, True), (50, 0, False), (0, 0, False), (600, 70, False), (600, 400, False)],
    )
    async def test_only_one_whose_own_link_has_been_whole_for_a_fifth_of_its_lease(
        self, connection: asyncpg.Connection, url: str, linked: float, beat: float, may: bool
    ) -> None:
        """After a restart of the database everybody has been silent: the first one back would bury the living."""
        await with_dead_session(connection, url, 600)
        judge = await make_worker(connection, LEASE)
        await age(connection, judge, linked=linked, beat=beat)
        assert len(await workers.bury(connection, judge)) == int(may)

    async def test_nobody_whose_own_session_is_gone(
        self, connection: asyncpg.Connection, url: str, judge: UUID
    ) -> None:
        """The database has been started anew since its last beat, and the others may only be a moment slower."""
        worker = await with_dead_session(connection, url, 100)
        own = await connection.fetchrow("select backend_pid, backend_start from asyncjobs.worker where id = $1", judge)
        moved = "update asyncjobs.worker set backend_pid = $2, backend_start = $3 where id = $1"
        await connection.execute(moved, judge, *await gone(url))
        assert await workers.bury(connection, judge) == {}
        await connection.execute(moved, judge, *own)
        assert list(await workers.bury(connection, judge)) == [worker]

    async def test_one_without_a_session_of_its_own_by_the_whole_lease_alone(
        self, connection: asyncpg.Connection, url: str, judge: UUID
    ) -> None:
        await connection.execute(
            "update asyncjobs.worker set backend_pid = 0, backend_start = null where id = $1", judge
        )
        worker = await with_dead_session(connection, url, 100)
        assert await workers.bury(connection, judge) == {}
        await age(connection, worker, beat=310)
        assert list(await workers.bury(connection, judge)) == [worker]

    async def test_the_dead_and_the_unknown_judge_nobody(
        self, connection: asyncpg.Connection, url: str, judge: UUID
    ) -> None:
        await with_dead_session(connection, url, 600)
        assert await workers.bury(connection, uuid4()) == {}
        await workers.end(connection, judge)
        assert await workers.bury(connection, judge) == {}

    async def test_nobody_buries_itself(self, connection: asyncpg.Connection) -> None:
        worker = await make_worker(connection, LEASE)
        await age(connection, worker, linked=6000, beat=0)
        await connection.execute("update asyncjobs.worker set lease = '1 ms'")
        assert await workers.bury(connection, worker) == {}


class TestBeats:
    async def test_a_beat_renews_the_lease_and_says_how_many_are_alive(
        self, connection: asyncpg.Connection, judge: UUID
    ) -> None:
        others = [await make_worker(connection, LEASE) for _ in range(3)]
        await workers.end(connection, others[0])
        await age(connection, judge, beat=30)
        pulse = await workers.beat(connection, judge)
        assert pulse is not None
        assert pulse.alive == 3
        assert pulse.rank == sum(other.bytes < judge.bytes for other in others[1:])
        assert await connection.fetchval(
            "select beat_at > clock_timestamp() - interval '10 s' from asyncjobs.worker where id = $1", judge
        )

    async def test_the_dead_and_the_unknown_learn_that_every_lease_is_lost(
        self, connection: asyncpg.Connection, judge: UUID
    ) -> None:
        await workers.end(connection, judge)
        assert await workers.beat(connection, judge) is None
        assert await workers.beat(connection, uuid4()) is None

    @pytest.mark.parametrize(("beat", "whole"), [(10, True), (50, True), (70, False), (290, False)])
    async def test_after_a_silence_of_a_fifth_of_the_lease_the_link_counts_from_now(
        self, connection: asyncpg.Connection, judge: UUID, beat: float, whole: bool
    ) -> None:
        await age(connection, judge, beat=beat)
        await workers.beat(connection, judge)
        since = await connection.fetchval(
            "select clock_timestamp() - linked_at from asyncjobs.worker where id = $1", judge
        )
        assert (since.total_seconds() > 500) is whole

    async def test_on_a_new_session_too(
        self, connection: asyncpg.Connection, session: asyncpg.Connection, judge: UUID
    ) -> None:
        await workers.beat(session, judge)
        row = await connection.fetchrow("select *, clock_timestamp() as now from asyncjobs.worker where id = $1", judge)
        assert (row["now"] - row["linked_at"]).total_seconds() < 100
        assert row["backend_pid"] == session.get_server_pid()


class TestAClockThatWasSetBack:
    """Then times of before are times to come."""

    async def test_the_dead_count_as_heard_at_that_moment_and_are_buried_in_time(
        self, connection: asyncpg.Connection, url: str, judge: UUID
    ) -> None:
        worker = await with_dead_session(connection, url, beat=-600)
        assert await workers.bury(connection, judge) == {}
        [row] = await connection.fetch(
            "select beat_at <= clock_timestamp() as past from asyncjobs.worker where id = $1", worker
        )
        assert row["past"]
        await age(connection, worker, beat=60)
        assert list(await workers.bury(connection, judge)) == [worker]

    async def test_a_link_counts_as_whole_from_the_next_beat_on(
        self, connection: asyncpg.Connection, url: str, judge: UUID
    ) -> None:
        worker = await with_dead_session(connection, url, beat=600)
        await age(connection, judge, beat=-600, linked=-300)
        await workers.beat(connection, judge)
        times = "select beat_at, linked_at, clock_timestamp() as now from asyncjobs.worker where id = $1"
        row = await connection.fetchrow(times, judge)
        assert row["linked_at"] <= row["now"] and row["beat_at"] <= row["now"]
        await age(connection, judge, linked=70)
        assert list(await workers.bury(connection, judge)) == [worker]


class TestRescue:
    async def test_only_jobs_of_workers_that_are_dead_or_have_no_row(
        self, connection: asyncpg.Connection, url: str
    ) -> None:
        session = await pinned(url)
        living, dead, forgotten = [await make_worker(connection) for _ in range(3)]
        held = {}
        for worker in (living, dead, forgotten):
            await put(connection, 3)
            held[worker] = {job.id for job in await claim(session, worker, 3)}
        await put(connection, 2)
        await workers.end(connection, dead)
        await connection.execute("delete from asyncjobs.worker where id = $1", forgotten)
        assert await jobs.rescue(session, 100) == 6
        found = await states(connection)
        assert {job_id for job_id, state in found.items() if state == 2} == held[living]
        rows = await connection.fetch("select * from asyncjobs.job where crashes > 0")
        assert {row["id"] for row in rows} == held[dead] | held[forgotten]
        for row in rows:
            assert (row["state"], row["crashes"], row["fence"], row["worker"], row["attempt"]) == (1, 1, 0, None, 1)
        assert await jobs.rescue(session, 100) == 0
        session.terminate()

    async def test_in_bounded_batches(self, connection: asyncpg.Connection) -> None:
        dead = [await make_worker(connection) for _ in range(3)]
        for worker in dead:
            await put(connection, 10)
            await claim(connection, worker, 10)
            await workers.end(connection, worker)
        counts = []
        while counts[-1:] != [0]:
            counts.append(await jobs.rescue(connection, 7))
        assert (sum(counts), max(counts)) == (30, 7)

    async def test_many_rescuers_at_once_charge_each_job_once(self, connection: asyncpg.Connection, url: str) -> None:
        worker = await make_worker(connection)
        await put(connection, 200)
        await claim(connection, worker, 200)
        await workers.end(connection, worker)
        sessions = [await pinned(url) for _ in range(4)]
        await asyncio.gather(*(jobs.rescue(session, 50) for session in sessions))
        while await jobs.rescue(connection, 500):
            pass
        assert await connection.fetchval("select count(*) from asyncjobs.job where crashes = 1 and state = 1") == 200
        for session in sessions:
            session.terminate()

    async def test_rescued_jobs_stay_at_their_priority_behind_those_that_wait(
        self, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        [first] = await put(connection, 1)
        await claim(connection, worker)
        [second] = await put(connection, 1)
        await workers.end(connection, worker)
        await jobs.rescue(connection, 10)
        rows = await connection.fetch("select id, state from asyncjobs.job order by queue, priority, seq")
        assert [tuple(row) for row in rows] == [(second, 1), (first, 1)]

    async def test_workers_dead_for_a_day_are_forgotten_once_they_hold_nothing(
        self, connection: asyncpg.Connection
    ) -> None:
        holding, idle, fresh = [await make_worker(connection) for _ in range(3)]
        await put(connection, 1)
        await claim(connection, holding)
        for worker in (holding, idle, fresh):
            await workers.end(connection, worker)
        await connection.execute(
            "update asyncjobs.worker set dead_at = dead_at - interval '25 h' where id <> $1", fresh
        )
        assert await workers.forget(connection) == 1
        left = {row["id"] for row in await connection.fetch("select id from asyncjobs.worker")}
        assert left == {holding, fresh}


async def test_a_beat_writes_what_the_worker_tells_and_leaves_it_when_there_is_nothing_new(connection, judge):
    async def told():
        return await connection.fetchval("select report from asyncjobs.worker where id = $1", judge)

    assert await told() == "{}"
    await workers.beat(connection, judge, report='{"draining": true}')
    await workers.beat(connection, judge)
    assert await told() == '{"draining": true}'
