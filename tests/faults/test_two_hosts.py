"""Two workers on two hosts with one database; the link between them is cut, flaps, is slow and stalls."""

import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults import step_jobs as work
from tests.faults.conftest import scene_of
from tests.faults.scene import BURIED, LEASE_LOST, LET_GO
from tests.support.namespaces import TwoHosts, inside, two_hosts, why_not
from tests.support.postgres import MIGRATED, ThrowAwayPostgres
from tests.support.processes import SLACK, until
from tests.support.proxy import Proxy

WORK = "tests.faults.step_jobs"
REFUSED = "its lease was lost before its end could be written"
JOBS = 2_000
LEASE = 15.0
"""Seconds: with 0.3 s each way a connection takes 1.2 s, and the keeper has a tenth of the lease for it."""
PATIENCE = 180.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(reason := why_not()), reason=f"no two hosts here: {reason}"),
]


@pytest.fixture
def hosts() -> Iterator[TwoHosts]:
    with two_hosts() as made:
        yield made


class Link:
    """What happens to it, each with what is to come of that."""

    def __init__(self, scene, hosts, proxy, near, far):
        self.scene, self.hosts, self.proxy, self.near, self.far = scene, hosts, proxy, near, far

    def nothing_goes_on_there(self):
        """Whether every run of the far worker that began has ended."""
        return all(run.end is not None for run in self.scene.oracle.runs() if run.pid == self.far.pid)

    async def far_lets_go(self, cut_at):
        """Wait until the worker that is cut off has stopped all that it ran, though nobody can have told it to."""
        lettings = self.far.log.count(LET_GO)
        await self.far.wait_for_log(LET_GO, count=lettings + 1)
        assert await until(self.nothing_goes_on_there)
        ends = [event.ns for event in self.scene.events(event="end", worker="far") if event.ns > cut_at]
        assert not ends or (max(ends) - cut_at) / 1e9 < LEASE + 1 + SLACK  # its time for cleanup is 1 s

    async def is_cut(self):
        cut_at = time.monotonic_ns()
        losses, burials = self.far.log.count(LEASE_LOST), self.near.log.count(BURIED)
        self.hosts.link("down")
        await self.far_lets_go(cut_at)
        await self.near.wait_for_log(BURIED, count=burials + 1)
        self.hosts.link("up")
        await self.far.wait_for_log(LEASE_LOST, count=losses + 1)
        await self.far.wait_for_log(REFUSED)

    async def flaps(self):
        for _ in range(20):
            self.hosts.link("down")
            await asyncio.sleep(random.random() * 0.3)
            self.hosts.link("up")
            await asyncio.sleep(random.random() * 0.3)

    async def is_slow(self):
        self.proxy.delay = 0.3

    async def stalls_for_seconds(self):
        for _ in range(3):
            self.proxy.freeze()
            await asyncio.sleep(LEASE / 2)
            self.proxy.thaw()
            await asyncio.sleep(LEASE / 4)

    async def stalls_beyond_the_lease(self):
        stalled_at = time.monotonic_ns()
        losses, burials = self.far.log.count(LEASE_LOST), self.near.log.count(BURIED)
        self.proxy.freeze()
        await self.far_lets_go(stalled_at)
        await self.near.wait_for_log(BURIED, count=burials + 1)
        self.proxy.thaw()
        await self.far.wait_for_log(LEASE_LOST, count=losses + 1)

    async def is_whole(self):
        """By now jobs have begun behind the slow one."""
        self.proxy.delay = 0.0


async def test_a_link_between_two_hosts_that_fails_in_every_way_loses_nothing_and_doubles_no_effect(hosts, tmp_path):
    async with ThrowAwayPostgres({"listen_addresses": hosts.near_address}, host=hosts.near) as postgres:
        url = postgres.url(MIGRATED)
        async with (
            scene_of(url, tmp_path) as scene,
            Proxy.in_front_of(url, address=hosts.near_address, host=hosts.near) as proxy,
        ):
            await scene.fetch("create table effect (job uuid, name text)")
            with inside(hosts.near):
                near = scene.begin(WORK, name="near", concurrency=20, lease=LEASE)
            with inside(hosts.far):
                far = scene.begin(WORK, name="far", concurrency=20, lease=LEASE, url=f"{proxy.url()}?sslmode=disable")
            await scene.all_ready(near, far)
            link = Link(scene, hosts, proxy, near, far)
            faults = [link.is_cut, link.flaps, link.is_slow, link.is_whole, link.stalls_for_seconds]
            faults += [link.stalls_beyond_the_lease, link.is_cut, link.is_whole]
            jobs = []
            for fault in faults:
                batch = [work.Short(n=n) for n in range(JOBS // len(faults))]
                jobs += await scene.enqueue(*batch)
                ids = {str(job.id) for job in batch}
                # Whatever was before: it works again, and is in the middle of it.
                assert await until(partial(begun, scene, ids), PATIENCE), far.log[-3000:]
                await fault()
                await scene.finished(*batch, timeout=PATIENCE)
            rows = await scene.finished(*jobs)
            assert {row["state"] for row in rows} == {4}
            effects = await scene.fetch("select job, count(*) as count from effect group by job")
            assert {(row["job"], row["count"]) for row in effects} == {(job.id, 1) for job in jobs}
            assert near.running and far.running and LET_GO not in near.log
            verdict = await scene.verdict(zombies=[far.pid])
            verdict.assert_clean()
            print(f"{len(verdict.repeated)} of {len(jobs)} ran to a good end more than once")


def begun(scene, ids):
    return any(event.job_id in ids for event in scene.events(event="start", worker="far"))
