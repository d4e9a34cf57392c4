"""What recurs, while workers are killed, and after nobody was there: each time is enqueued for exactly once."""

import asyncio
import random
import time
from datetime import timedelta

import pytest

from asyncjobs.db.connecting import connect
from tests.faults import jobs as work
from tests.faults.conftest import scene_of
from tests.support.asking import until
from tests.support.postgres import MIGRATED

MODULE = "tests.faults.recurring_jobs"
TICKS = "select tick, job, came_to from asyncjobs.recurring_tick where name = 'recurs.beat' order by tick"
JOBS = "select tick from (select tick from asyncjobs.job union all select tick from asyncjobs.finished) as every_one order by tick"


@pytest.mark.parametrize(("count", "seconds"), [(2, 2), pytest.param(8, 60, marks=pytest.mark.slow)])
async def test_workers_killed_at_random_enqueue_for_each_second_exactly_once(scene, count, seconds):
    rng = random.Random(seconds)
    workers = [scene.begin(MODULE, name=f"worker{n}") for n in range(count)]
    await scene.all_ready(*workers)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(rng.uniform(0.1, 0.7))
        doomed = workers.pop(rng.randrange(len(workers)))
        doomed.kill()
        workers.append(scene.begin(MODULE))
    await scene.all_ready(*workers)
    await scene.jobs.recurring.pause("recurs.beat")
    await scene.eventually(lambda: drained(scene), "end of all jobs")
    rows = await scene.fetch(TICKS)
    ticks = [row["tick"] for row in rows]
    assert len(ticks) >= seconds
    assert ticks == [ticks[0] + timedelta(seconds=n) for n in range(len(ticks))]  # none is lost
    assert {row["came_to"] for row in rows} == {"enqueued"}
    assert [row["tick"] for row in await scene.fetch(JOBS)] == ticks  # one job each
    assert sorted({event.fields["tick"] for event in scene.events(event="start")}) == [str(tick) for tick in ticks]


async def drained(scene):
    [row] = await scene.fetch("select count(*) = 0 as is_empty from asyncjobs.job")
    return row["is_empty"]


async def test_workers_that_all_freeze_beyond_their_lease_double_nothing_when_they_go_on(scene):
    workers = [scene.begin(MODULE, name=f"worker{n}") for n in range(2)]
    await scene.all_ready(*workers)
    await scene.eventually(lambda: scene.fetch(TICKS), "times")
    for worker in workers:
        worker.freeze()
    awake = await scene.start(MODULE, name="awake")
    before = len(await scene.fetch(TICKS))
    await scene.eventually(lambda: more_than(scene, before + 3), "times of the one that is awake")
    for worker in workers:
        worker.thaw()
    awake.kill()
    before = len(await scene.fetch(TICKS))
    await scene.eventually(lambda: more_than(scene, before + 2), "times of those that slept")
    ticks = [row["tick"] for row in await scene.fetch(TICKS)]
    assert len(set(ticks)) == len(ticks) == len(await scene.fetch(JOBS))


async def more_than(scene, count):
    return len(await scene.fetch(TICKS)) > count


async def test_after_the_databases_clock_has_gone_on_for_an_hour_without_workers_each_policy_holds(shifted, tmp_path):
    server, clock = shifted
    async with scene_of(server.url(MIGRATED), tmp_path) as scene:
        [row] = await scene.fetch("select extract(second from clock_timestamp())::int as second")
        at = (row["second"] + 30) % 60  # not within ten seconds of its time, when it starts again
        for catch_up in ("none", "latest", "all"):
            await scene.jobs.recurring.add(catch_up, work.nap(0), schedule=f"{at} * * * * *", catch_up=catch_up)
        first = await scene.start(name="first")
        first.kill()
        clock.write_text("+3600")
        connection = await connect(scene.url)
        await scene.start(name="second")
        await until(
            connection, "select bool_and(next_at > clock_timestamp()) from asyncjobs.recurring where declared is null"
        )
        counts = {
            row["name"]: row["count"]
            for row in await connection.fetch("select name, count(*) from asyncjobs.recurring_tick group by name")
        }
        assert counts.get("none", 0) <= 1 and counts["latest"] <= 2 and 60 <= counts["all"] <= 62
        assert counts["latest"] >= 1
        await scene.eventually(lambda: drained(scene), "end of all jobs")
        jobs = await connection.fetchval("select count(*) from asyncjobs.finished where tick is not null")
        assert jobs == sum(counts.values())
        connection.terminate()


async def test_a_clock_that_is_set_back_doubles_no_time(shifted, tmp_path):
    server, clock = shifted
    async with scene_of(server.url(MIGRATED), tmp_path) as scene:
        await scene.start(MODULE, name="first")
        await scene.eventually(lambda: more_than(scene, 1), "times")
        clock.write_text("-600")
        before = len(await scene.fetch(TICKS))
        await scene.start(MODULE, name="second")
        await scene.eventually(lambda: drained(scene), "end of all jobs")
        ticks = [row["tick"] for row in await scene.fetch(TICKS)]
        assert before <= len(ticks) <= before + 2
        assert [row["tick"] for row in await scene.fetch(JOBS)] == ticks
        clock.write_text("+0")
        await scene.eventually(lambda: more_than(scene, before + 3), "times after it")
        ticks = [row["tick"] for row in await scene.fetch(TICKS)]
        assert len(set(ticks)) == len(ticks)
