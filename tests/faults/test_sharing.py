"""What several workers take, and leave to each other: kinds, queues, jobs claimed ahead, and never more than they can run."""

import itertools

import pytest

from asyncjobs.db import jobs as job_rows
from asyncjobs.db import workers as worker_rows
from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.rows import Range
from tests.faults import jobs as work
from tests.faults.new_jobs import brand_new


async def test_a_worker_never_claims_a_kind_that_only_a_newer_one_knows(scene):
    unknown = [brand_new(n) for n in range(1_000)]
    for job in unknown:
        scene.oracle.write("try", job_id=job.id)
    assert await scene.jobs.enqueue_all(unknown) == 1_000
    for job in unknown:
        scene.oracle.write("ok", job_id=job.id)
    await scene.start(name="old")
    known = await scene.enqueue(*(work.tiny(n) for n in range(50)))  # behind a thousand that it must pass over
    await scene.finished(*known, timeout=10)
    [left] = await scene.fetch("select count(*), max(attempt), max(fence) from asyncjobs.job where state = 1")
    assert tuple(left) == (1_000, 0, 0)
    await scene.start("tests.faults.jobs", "tests.faults.new_jobs", name="new", concurrency=50)
    await scene.finished(*unknown)
    assert {event.worker for event in scene.events(event="start") if event.job_id in {str(j.id) for j in unknown}} == {
        "new"
    }
    await scene.clean(max_attempts=1)


async def test_what_was_claimed_ahead_of_long_jobs_is_given_back_to_idle_workers(scene):
    first = await scene.start(name="first", concurrency=2)
    warm_up = await scene.enqueue(*(work.tiny(n) for n in range(300)))  # at this rate many are claimed ahead
    held = await scene.enqueue(*(work.hold(scene.gate()) for _ in range(10)))
    await scene.finished(*warm_up)
    await scene.start(name="second", concurrency=10)
    await scene.running(*held, timeout=10)
    scene.open(scene.gate())
    rows = await scene.finished(*held)
    assert {row["attempt"] for row in rows} == {1}
    assert first.running
    await scene.clean(max_attempts=1)


SWITCHES = ("enable_hashjoin", "enable_mergejoin", "enable_material", "enable_nestloop", "enable_indexscan")


class TestTheClaimTakesNoMoreThanItMay:
    """The planner may run a subquery with a limit once for each row of a join, unless the statement forbids it."""

    @pytest.fixture
    async def claim(self, connection, database_url):
        worker = worker_rows.UUID(int=1)
        await worker_rows.register(connection, worker, lease=30, about="{}")

        async def claim(session, free):
            ranges = [Range(n, queue, -32768, 32767, -(2**63)) for n, queue in enumerate(("a", "b"), 1)]
            return await job_rows.claim(session, free=free, ranges=ranges, kinds=["faults.tiny"], worker=worker)

        return claim

    async def fill(self, connection, count):
        for queue in ("a", "b"):
            await connection.execute(
                "insert into asyncjobs.job (id, kind, queue) select gen_random_uuid(), 'faults.tiny', $1"
                f" from generate_series(1, {count})",
                queue,
            )

    @pytest.mark.parametrize("statistics", ["none", "of an empty table", "true"])
    async def test_whatever_the_planner_may_not_use(self, connection, claim, statistics, database_url):
        if statistics == "of an empty table":
            await connection.execute("vacuum analyze asyncjobs.job")
        await connection.execute("alter table asyncjobs.job set (autovacuum_enabled = off)")
        await self.fill(connection, 2_000)
        if statistics == "true":
            await connection.execute("analyze asyncjobs.job")
        free, settings = [3, 2], [*itertools.product(("on", "off"), repeat=len(SWITCHES)), "pinned"]
        for chosen in settings:
            switched = PINNED_PLANS if chosen == "pinned" else dict(zip(SWITCHES, chosen, strict=True))
            session = await connect(database_url, settings=switched)
            claimed = [job.queue for job in await claim(session, free)]
            assert (claimed.count("a"), claimed.count("b")) == (3, 2), chosen
            session.terminate()
        running = await connection.fetchval("select count(*) from asyncjobs.job where state = 2")
        assert running == len(settings) * sum(free)

    @pytest.mark.parametrize("ready", [0, 1, 4])
    async def test_with_fewer_jobs_than_slots(self, connection, claim, ready):
        await self.fill(connection, ready)
        assert len(await claim(connection, [10, 10])) == 2 * ready
        assert await claim(connection, [10, 10]) == []

    async def test_a_worker_without_a_living_row_claims_nothing(self, connection, claim):
        await self.fill(connection, 1)
        await connection.execute("update asyncjobs.worker set dead_at = now()")
        assert await claim(connection, [1, 1]) == []
        await connection.execute("delete from asyncjobs.worker")
        assert await claim(connection, [1, 1]) == []
