"""How soon jobs go on after a crash: the figures that the documents promise, by real workers with the default times."""

import os
import signal
import sys
from collections import Counter
from statistics import median

import pytest

from tests.faults import jobs as work

pytestmark = pytest.mark.slow
LEASE = 30.0
STARTS = 10.0
"""Seconds beside the rule, on a machine that does other things, too: until deaths are seen and the forking process is up."""


def seconds(scene, since, **wanted):
    """When the wanted events came, in seconds since then, in order."""
    return sorted((event.ns - since) / 1e9 for event in scene.events(**wanted))


async def until_running(scene, count, attempt):
    async def all_run():
        [row] = await scene.fetch(
            "select count(*) as n from asyncjobs.job where state = 2 and attempt = $1 and worker is not null", attempt
        )
        return row["n"] >= count

    await scene.eventually(all_run, f"{count} running jobs", 120)
    await scene.eventually(lambda: begun(scene, count, attempt), f"{count} that have begun")


async def begun(scene, count, attempt):
    return len(scene.events(event="start", attempt=attempt)) >= count


async def supervised(scene, processes, concurrency):
    config = scene.config("supervised", concurrency=concurrency, lease=LEASE)
    words = ["-m", "asyncjobs", "run", "tests.faults.jobs", "--config", str(config), "--processes", str(processes)]
    supervisor = scene.workers.start(command=[sys.executable, *words], name="supervised")
    await supervisor.wait_for_log("ready: worker", count=processes)
    return supervisor


def killed_at(scene, pid):
    os.kill(pid, signal.SIGKILL)
    scene.oracle.write("dying", of=pid)
    return scene.events(event="dying")[-1].ns


@pytest.mark.parametrize("under", ["nobody", "a supervisor"])
async def test_a_thousand_jobs_of_a_killed_worker_all_run_again_within_ten_seconds_in_an_idle_one(scene, under):
    if under == "nobody":
        first = await scene.start(name="first", concurrency=1000, lease=LEASE)
        jobs = [work.nap(30) for _ in range(1000)]
    else:
        await supervised(scene, 2, 1000)
        jobs = [work.nap(30) for _ in range(2000)]
    await scene.jobs.enqueue_all(jobs)
    await until_running(scene, len(jobs), 1)
    victim = first.pid if under == "nobody" else scene.events(event="start")[0].pid
    heir = await scene.start(name="heir", concurrency=1000, lease=LEASE)
    killed = killed_at(scene, victim)
    await until_running(scene, 1000, 2)
    again = seconds(scene, killed, event="start", attempt=2)
    print(f"under {under}: median {median(again):.1f} s, last {again[-1]:.1f} s")
    assert {event.pid for event in scene.events(event="start", attempt=2)} >= {heir.pid}
    assert len(again) == 1000
    assert again[-1] < 10


@pytest.mark.parametrize("fuse", [1, 5])
@pytest.mark.parametrize("neighbours", [200, 1000])
async def test_a_bomb_among_many_fails_alone_and_each_neighbour_succeeds_within_three_times_its_length(
    scene, neighbours, fuse
):
    length = 10
    await supervised(scene, 3, neighbours + 10)
    bomb = work.bomb("SIGKILL", fuse)
    jobs = [work.nap(length) for _ in range(neighbours)]
    await scene.jobs.enqueue_all([*jobs[::3], bomb, *jobs[1::3], *jobs[2::3]])
    rows = await scene.finished(bomb, *jobs, timeout=180)
    began = scene.events(event="start")[0].ns
    ends = seconds(scene, began, event="end", how="ok")
    runs = Counter(row["attempt"] for row in rows[1:])
    print(
        f"{neighbours} neighbours of {length} s, a bomb of {fuse} s: median {median(ends):.1f} s, last {ends[-1]:.1f} s; "
        f"attempts of the bomb {rows[0]['attempt']}, of the others {dict(runs)}"
    )
    for attempt in range(1, 6):
        if starts := seconds(scene, began, event="start", attempt=attempt):
            print(f"attempt {attempt}: {len(starts)} began, first {starts[0]:.1f} s, last {starts[-1]:.1f} s")
    assert (rows[0]["state"], rows[0]["crashes"]) == (5, 3)
    assert {row["state"] for row in rows[1:]} == {4}
    assert max(row["crashes"] for row in rows[1:]) <= 2
    assert rows[0]["attempt"] <= 3 + len(bin(neighbours)) - 2
    assert ends[-1] < 3 * length + STARTS
