"""The claim: never more than asked for, in exact order, only for a worker that lives, and never one job twice."""

from __future__ import annotations

import asyncio
import random
from itertools import product
from uuid import uuid4

import asyncpg
import pytest
from db_rows import ALL, HIGH, LOW, claim, make_worker, pinned, put, ranges, states

from asyncjobs.db import claims, jobs, test_kit, workers
from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.rows import Range, Reschedule
from tests.support.sweeps import slowly

SWITCHES = (
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_material",
    "enable_nestloop",
    "enable_indexscan",
    "enable_tidscan",
)


class TestLimits:
    @pytest.mark.parametrize("statistics", ["never", *slowly("full", "empty", "stale")])
    async def test_neither_statistics_nor_what_the_planner_may_not_use_make_it_take_more(
        self, database_url: str, connection: asyncpg.Connection, statistics: str
    ) -> None:
        """F31: the planner may run a subquery with a limit once for each row of a join, and each would claim."""
        worker = await make_worker(connection)
        await connection.execute("alter table asyncjobs.job set (autovacuum_enabled = off)")
        if statistics == "empty":
            await connection.execute("vacuum analyze asyncjobs.job")
        for queue in ("a", "b"):
            await put(connection, 3_000, queue=queue)
        if statistics in ("full", "stale"):
            await connection.execute("analyze asyncjobs.job")
        if statistics == "stale":
            await connection.execute("delete from asyncjobs.job where seq % 10 <> 0")
        switched = [dict(zip(SWITCHES, chosen, strict=True)) for chosen in product(("on", "off"), repeat=len(SWITCHES))]
        session = await connect(database_url)
        for settings in [*switched, PINNED_PLANS]:
            await session.execute("discard plans; reset all;" + "".join(f"set {n} = {v};" for n, v in settings.items()))
            claimed = await claims.claim(
                session, free=[3, 2], ranges=[*ranges("a"), *ranges("b", pool=2)], kinds=["k"], worker=worker
            )
            assert [job.queue for job in claimed] == ["a"] * 3 + ["b"] * 2, settings
        session.terminate()
        running = "select count(*) from asyncjobs.job where state = 2"
        assert await connection.fetchval(running) == 5 * (len(switched) + 1)

    async def test_each_pool_has_its_own(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        for queue in ("a", "b", "c"):
            await put(connection, 20, queue=queue)
        claimed = await claims.claim(
            worker_session,
            free=[2, 0, 5],
            ranges=[*ranges("a"), *ranges("b", pool=2), *ranges("c", pool=3)],
            kinds=["k"],
            worker=worker,
        )
        assert [(job.pool, job.queue) for job in claimed] == [(1, "a")] * 2 + [(3, "c")] * 5

    async def test_an_empty_queue_gives_nothing_and_asking_for_nothing_is_no_error(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        assert await claim(worker_session, worker, 5, "nobody", "home") == []
        await put(connection, 1)
        assert await claim(worker_session, worker, 5, kinds=()) == []
        assert await claim(worker_session, worker, 0) == []
        assert len(await claim(worker_session, worker, 5)) == 1


class TestOrder:
    async def test_by_priority_and_then_in_the_order_of_arrival(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        expected = []
        for priority in random.Random(5).choices((-32_768, -3, 0, 2, 32_767), k=60):
            [made] = await put(connection, 1, priority=priority)
            expected.append((priority, len(expected), made))
        claimed = [job for _ in range(12) for job in await claim(worker_session, worker, 5)]
        assert [job.id for job in claimed] == [made for *_, made in sorted(expected)]

    async def test_queues_in_the_order_they_are_named_the_first_one_dry_before_the_next(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        for queue in ("low", "high", "middle"):
            await put(connection, 4, queue=queue, priority=0 if queue == "high" else -100)
        claimed = await claim(worker_session, worker, 10, "high", "middle", "low")
        assert [job.queue for job in claimed] == ["high"] * 4 + ["middle"] * 4 + ["low"] * 2

    async def test_whatever_order_the_server_answers_in(self) -> None:
        """UPDATE … RETURNING promises none."""
        right = [
            (1, 1, -5, 9, uuid4(), 1, 1, "k", "q", "{}", 0, None, 0, None, False, None, None, 0.1, None, False, None),
            (1, 1, 0, 3, uuid4(), 1, 1, "k", "q", "{}", 0, None, 0, None, False, None, None, 0.1, None, False, None),
            (1, 1, 0, 4, uuid4(), 1, 1, "k", "q", "{}", 0, None, 0, None, False, None, None, 0.1, None, False, None),
            (1, 2, -9, 1, uuid4(), 1, 1, "k", "r", "{}", 0, None, 0, None, False, None, None, 0.1, None, False, None),
            (2, 1, -9, 2, uuid4(), 1, 1, "k", "s", "{}", 0, None, 0, None, False, None, None, 0.1, None, False, None),
        ]

        class Server:
            async def fetch(self, *_: object) -> list[tuple[object, ...]]:
                return right[::-1]

        assert await claim(Server(), uuid4()) == right

    async def test_ranges_of_priority_and_seq_bound_what_is_looked_at(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        made = {priority: await put(connection, 3, priority=priority) for priority in (-1, 0, 1)}
        seq = await connection.fetchval("select seq from asyncjobs.job where id = $1", made[0][1])

        async def look(low: int, high: int, mark: int) -> list[object]:
            found = await claims.claim(
                worker_session, free=[9], ranges=[Range(1, "q", low, high, mark)], kinds=["k"], worker=worker
            )
            return [job.id for job in found]

        assert await look(0, 0, seq) == made[0][1:]
        assert await look(LOW, -1, ALL) == made[-1]
        assert await look(0, HIGH, seq) == made[1]
        assert await look(LOW, HIGH, ALL) == made[0][:1]


class TestWhatItWrites:
    async def test_attempt_fence_worker_and_start_rise_in_the_claim_itself(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        [made] = await put(connection, 1, args='{"a": 1}')
        [claimed] = await claim(worker_session, worker)
        row = await connection.fetchrow("select * from asyncjobs.job where id = $1", made)
        assert (row["state"], row["attempt"], row["worker"], row["fence"]) == (2, 1, worker, claimed.fence)
        assert row["started_at"] >= row["enqueued_at"]
        assert (claimed.id, claimed.attempt, claimed.kind, claimed.args) == (made, 1, "k", '{"a": 1}')

    async def test_every_claim_has_a_fence_of_its_own_that_never_comes_again(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        await put(connection, 5)
        fences: list[int] = []
        for _ in range(3):
            claimed = await claim(worker_session, worker, 5)
            fences += [job.fence for job in claimed]
            assert await jobs.reschedule(worker_session, sorted(Reschedule(job.id, job.fence) for job in claimed)) == 5
        assert len(set(fences)) == 15
        assert fences[0] > 0

    @pytest.mark.parametrize("dead", ["dead", "unknown"])
    async def test_a_worker_that_is_dead_or_unknown_claims_nothing(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection, dead: str
    ) -> None:
        worker = await make_worker(connection) if dead == "dead" else uuid4()
        await workers.end(connection, worker)
        made = await put(connection, 3)
        assert await claim(worker_session, worker) == []
        assert await states(connection) == dict.fromkeys(made, 1)

    async def test_only_ready_jobs_of_known_kinds_and_named_queues(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        [good] = await put(connection, 1)
        await put(connection, 1, kind="unknown")
        await put(connection, 1, queue="other")
        await put(connection, 1, delay=60.0)
        for state in (0, 2, 3):
            [other] = await put(connection, 1)
            await connection.execute("update asyncjobs.job set state = $2 where id = $1", other, state)
        assert [job.id for job in await claim(worker_session, worker)] == [good]

    async def test_unknown_kinds_in_front_hide_nothing_behind_them(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        await put(connection, 2_000, kind="unknown")
        [good] = await put(connection, 1)
        assert [job.id for job in await claim(worker_session, worker, 1)] == [good]


class TestManyAtOnce:
    async def test_eight_claimers_take_every_job_once(self, url: str, connection: asyncpg.Connection) -> None:
        made = await put(connection, 1_000)
        taken: list[object] = []

        async def claimer() -> None:
            session = await pinned(url)
            worker = await make_worker(session)
            while claimed := await claim(session, worker, 13):
                taken.extend(job.id for job in claimed)
            session.terminate()

        await asyncio.gather(*(claimer() for _ in range(8)))
        assert len(taken) == 1_000
        assert set(taken) == set(made)

    async def test_rows_that_somebody_has_locked_are_passed_and_not_waited_for(
        self, worker_session: asyncpg.Connection, connection: asyncpg.Connection
    ) -> None:
        worker = await make_worker(connection)
        made = await put(connection, 3)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("select from asyncjobs.job where id = $1 for update", made[0])
        await worker_session.execute("set statement_timeout = '5s'")
        assert [job.id for job in await claim(worker_session, worker, 2)] == made[1:]
        await transaction.rollback()
        assert [job.id for job in await claim(worker_session, worker, 2)] == made[:1]


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ("attempt = 2, cancel_reason = 'enough'", True),
        ("expires_at = clock_timestamp() - interval '1 minute'", True),
        ("attempt = 2, crashes = 1", True),
        ("attempt = 2", False),
    ],
    ids=["cancelled", "expired", "crashed too often", "to be run"],
)
async def test_a_claim_whose_answer_was_lost_is_given_back_with_the_attempts_that_the_job_had(
    connection: asyncpg.Connection, url: str, change: str, refused: bool
) -> None:
    worker = await make_worker(connection)
    session = await pinned(url)
    try:
        [job_id] = await put(connection)
        await connection.execute(f"update asyncjobs.job set {change}")
        before = await connection.fetchval("select attempt from asyncjobs.job")
        assert await claim(session, worker, 1, once=["k"])
        [(held, fence, was_refused)] = await jobs.read_held(session, worker, {"k": 1})
        assert (held, was_refused) == (job_id, refused)
        await jobs.reschedule(session, [Reschedule(held, fence, spent=was_refused)])
    finally:
        session.terminate()
    assert await connection.fetchval("select attempt from asyncjobs.job") == before


@pytest.mark.parametrize(
    "row",
    [
        "attempt = 3",
        "expires_at = clock_timestamp() - interval '1 s'",
        "expires_at = clock_timestamp() - interval '1 s', attempt = 1",
        "cancel_reason = 'enough', attempt = 1",
        "crashes = 1, attempt = 1",
        "attempt = 2147483647, counts = '{}', progress = '{}', args = '[1]'",
    ],
)
async def test_the_test_kit_claims_as_a_worker_does(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection, row: str
) -> None:
    worker = await make_worker(connection)
    await put(connection, 2)
    await connection.execute(f"update asyncjobs.job set {row}")
    [first] = await claim(worker_session, worker, 1, once=["k"])
    found = await test_kit.read_next(worker_session, ["k"], queues=None, job_id=None, held=())
    assert found is not None
    [second] = await test_kit.claim(worker_session, found, max_crashes=1, worker=worker)
    both = [each._replace(id=worker, seq=0, fence=0, waited=0.0) for each in (first, second)]
    assert both[0] == both[1]
    rows = await connection.fetch("select state, worker, apart, attempt, started_at is not null from asyncjobs.job")
    assert rows[0] == rows[1] and (rows[0]["state"], rows[0]["worker"]) == (2, worker)
