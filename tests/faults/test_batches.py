"""Batches, chains and what follows jobs, while all workers are killed: what is to be enqueued is, each once, and none stalls."""

import asyncio
import random
from typing import Any

import pytest

from asyncjobs import Batch, chain
from tests.faults import batch_jobs as work
from tests.faults import few_apart
from tests.faults.batch_jobs import callback
from tests.support.processes import PATIENCE

MODULE = "tests.faults.batch_jobs"
MODULES = (MODULE, few_apart.__name__)
SETTLED = "select not exists (select from asyncjobs.batch where not settled)"
NONE_LIVE = "select not exists (select from asyncjobs.job where run_at < 'infinity')"
BY_KIND = (
    "select args::json->>'name' as name, count(*) from asyncjobs.finished where kind = 'faults.callback' group by 1"
)


def batch_of(name: str, *, size: int, fails: bool) -> Batch:
    batch = Batch(
        name,
        on_success=callback(f"{name} success"),
        on_finish=callback(f"{name} finish"),
        on_discard=callback(f"{name} discard"),
    )
    return batch.add_all([work.member(n, fails=fails) for n in range(size)]).add(*(work.adds(n) for n in range(5)))


async def holds(scene, query: str) -> bool:
    [row] = await scene.fetch(query)
    return row[0]


async def killed_again_and_again(scene, kills: int, seed: int, **options: Any) -> None:
    """Have two workers at any time, both killed at random moments."""
    dice = random.Random(seed)
    for _ in range(kills):
        pair = [scene.begin(*MODULES, concurrency=20, lease=1, **options) for _ in range(2)]
        await scene.all_ready(*pair)
        await asyncio.sleep(dice.random() * 0.4)
        for worker in pair:
            worker.kill()
        if await holds(scene, SETTLED) and await holds(scene, NONE_LIVE):
            break


async def rounds(scene, *, kills: int, size: int, seed: int, others: int = 100, **options: Any) -> None:
    async with asyncio.timeout(10 * PATIENCE):
        good = batch_of("good", size=size, fails=False)
        bad = batch_of("bad", size=size, fails=True)
        inner = batch_of("inner", size=size, fails=False)
        outer = batch_of("outer", size=0, fails=False).add(inner)
        for batch in (good, bad, outer):
            await batch.enqueue()
        chained = chain(work.link(0), *(work.link(chain.previous) for _ in range(others // 4)))
        await chained.enqueue()
        await scene.jobs.enqueue_all([work.leaves(n) for n in range(others)])
        await killed_again_and_again(scene, kills, seed, **options)
        await scene.start(*MODULES, name="last", concurrency=20, lease=1, **options)
        assert (await good.result(timeout=PATIENCE)).succeeded
        assert (await outer.result(timeout=PATIENCE)).succeeded
        assert not (await bad.result(timeout=PATIENCE)).succeeded
        assert await chained.result(timeout=PATIENCE) == others // 4 + 1
        for query in (SETTLED, NONE_LIVE):
            await scene.eventually(lambda query=query: holds(scene, query), "end of everything")
    found = {row["name"]: row["count"] for row in await scene.fetch(BY_KIND)}
    each = {f"{name} {how}": 1 for name in ("good", "inner", "outer") for how in ("success", "finish")}
    assert found == {**each, "bad finish": 1, "bad discard": 1}
    followers = (
        "select args::json->>'n' as n, count(*) from asyncjobs.finished where args::json->>'n' like '30___' group by 1"
    )
    rows = await scene.fetch(followers)
    assert {row["n"]: row["count"] for row in rows} == {str(30_000 + n): 1 for n in range(others)}
    links = await scene.fetch("select state, count(*) from asyncjobs.finished where kind = 'faults.link' group by 1")
    assert [tuple(row) for row in links] == [(4, others // 4 + 1)]


async def test_callbacks_links_and_followers_come_once_though_all_workers_are_killed(scene) -> None:
    await rounds(scene, kills=2, size=12, others=24, seed=1, environment={few_apart.VARIABLE: "yes"})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
async def test_the_same_a_hundred_times(scene, seed: int) -> None:
    await rounds(scene, kills=20, size=1_500, seed=seed)


async def test_a_frozen_worker_that_thaws_adds_nothing_to_a_batch_that_others_have_ended(scene) -> None:
    zombie = await scene.start(MODULE, name="zombie")
    gate = scene.gate()
    batch = Batch("frozen", on_finish=callback("frozen finish"), on_success=callback("frozen success"))
    late = work.adds_late(gate)
    await batch.add(late).enqueue()
    await scene.running(late)
    zombie.freeze()
    await scene.start(MODULE, name="other")
    await scene.running(late, attempt=2)
    scene.open(f"{gate}-other")
    assert (await batch.result(timeout=PATIENCE)).total == 2
    scene.open(f"{gate}-zombie")
    zombie.thaw()
    await scene.oracle.wait_for(event="end", job_id=late.id, pid=zombie.pid)
    await scene.eventually(lambda: holds(scene, NONE_LIVE), "end of everything")
    assert (await batch.status()).total == 2
    assert {row["name"]: row["count"] for row in await scene.fetch(BY_KIND)} == {
        "frozen finish": 1,
        "frozen success": 1,
    }


async def test_workers_that_are_stopped_in_order_leave_no_batch_unnoticed(scene) -> None:
    made = [await batch_of(f"b{n}", size=20, fails=False).enqueue() for n in range(3)]
    for _ in range(2):
        worker = await scene.start(MODULE, concurrency=20)
        worker.stop()
        assert await worker.exit_code() == 0
    await scene.start(MODULE, name="last", concurrency=20)
    for batch in made:
        assert (await batch.result(timeout=PATIENCE)).succeeded
    await scene.eventually(lambda: holds(scene, NONE_LIVE), "end of everything")
    found = {row["name"]: row["count"] for row in await scene.fetch(BY_KIND)}
    assert found == {f"b{n} {how}": 1 for n in range(3) for how in ("success", "finish")}


async def test_a_database_that_crashes_leaves_no_batch_unnoticed_and_doubles_nothing(own_scene, postgres) -> None:
    scene = own_scene
    good = await batch_of("good", size=30, fails=False).enqueue()
    bad = await batch_of("bad", size=30, fails=True).enqueue()
    chained = await chain(work.link(0), *(work.link(chain.previous) for _ in range(10))).enqueue()
    await scene.jobs.enqueue_all([work.leaves(n) for n in range(20)])
    for _ in range(2):
        await scene.start(MODULE, concurrency=5)
    for n, crash in enumerate(("immediate", "kill"), 1):
        await scene.oracle.wait_for(event="end", how="ok", count=40 * n)
        await postgres.stop(crash)
        await postgres.start()
    assert (await good.result(timeout=PATIENCE)).succeeded
    assert not (await bad.result(timeout=PATIENCE)).succeeded
    assert await chained.result(timeout=PATIENCE) == 11
    await scene.eventually(lambda: holds(scene, NONE_LIVE), "end of everything")
    found = {row["name"]: row["count"] for row in await scene.fetch(BY_KIND)}
    assert found == {"good success": 1, "good finish": 1, "bad finish": 1, "bad discard": 1}
    [row] = await scene.fetch("select count(*) from asyncjobs.finished where args::json->>'n' like '30___'")
    assert row["count"] == 20
