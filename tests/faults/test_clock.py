"""The database's clock is set back while workers run and die."""

import time

from tests.faults import jobs as work
from tests.faults.conftest import scene_of
from tests.support.postgres import MIGRATED

STEP = 600


async def test_times_that_are_to_come_delay_no_rescue(scene):
    first = await scene.start(name="first")
    [held] = await scene.enqueue(work.hold(scene.gate()))
    await scene.running(held)
    second = await scene.start(name="second")
    await scene.fetch(
        "update asyncjobs.worker set beat_at = beat_at + make_interval(secs => $1), "
        "linked_at = linked_at + make_interval(secs => $1)",
        STEP,
    )
    first.kill()
    await scene.running(held, attempt=2)
    scene.open(scene.gate())
    [row] = await scene.finished(held)
    assert row["result"] == f'"{second.name}"'


async def test_a_real_step_of_ten_minutes_back_delays_no_rescue(shifted, tmp_path):
    server, clock = shifted
    async with scene_of(server.url(MIGRATED), tmp_path) as scene:
        first = await scene.start(name="first")
        [held] = await scene.enqueue(work.hold(scene.gate()))
        await scene.running(held)
        await scene.start(name="second")
        clock.write_text(f"-{STEP}")
        [row] = await scene.fetch("select extract(epoch from clock_timestamp())::float8 as now")
        assert row["now"] < time.time() - STEP / 2
        first.kill()
        await scene.running(held, attempt=2)
        scene.open(scene.gate())
        await scene.finished(held)
