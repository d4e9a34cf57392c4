"""Two transactions about one unique key, one chain or one batch, the first of them open while the second waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from db_rows import claim, make_worker, new_job, pinned, states, succeeded

from asyncjobs.db import batches, inserts, job_actions, jobs
from asyncjobs.db.batches import NewBatch
from asyncjobs.db.rows import Reschedule, State
from asyncjobs.definitions.ids import new_id
from tests.support.asking import until_blocked

PREVIOUS = "p" * 40


class Scene(NamedTuple):
    """Connections: a worker's, two of others, and one to see who waits for a lock."""

    worker: asyncpg.Connection
    other: asyncpg.Connection
    third: asyncpg.Connection
    watch: asyncpg.Connection
    holder: UUID

    async def run(self, number: int = 1) -> list[Any]:
        """Claim jobs."""
        return sorted(await claim(self.worker, self.holder, number), key=lambda claimed: claimed.id)

    @contextlib.asynccontextmanager
    async def held(self, what: Coroutine[Any, Any, Any], waiting: Coroutine[Any, Any, Any]) -> AsyncIterator[list[Any]]:
        """Do something in an open transaction; begin something else, which waits for that; commit. Gives what each gave."""
        gave: list[Any] = []
        async with self.other.transaction():
            gave.append(await what)
            second = asyncio.ensure_future(waiting)
            await until_blocked(self.watch)
        gave.append(await second)
        yield gave


@pytest.fixture
async def scene(database_url: str) -> AsyncIterator[Scene]:
    worker, *others = await pinned(database_url), *[await asyncpg.connect(database_url) for _ in range(3)]
    yield Scene(worker, *others, await make_worker(worker))
    for connection in (worker, *others):
        connection.terminate()


def unique(key: str, conflict: str = "skip", **more: Any) -> Any:
    given = {"unique": {"key": key, "until": 0, "conflict": conflict, **more}}
    return new_job(order=json.dumps(given))


def failed(claimed: Any) -> Any:
    return succeeded(claimed, state=State.failed, error="{}")


def rescheduled(claimed: Any) -> Reschedule:
    return Reschedule(claimed.id, claimed.fence, delay=3600, error="{}", counts="{}", spent=True)


async def a_chain(connection: asyncpg.Connection) -> tuple[UUID, UUID]:
    first, second = new_id(), new_id()
    after = {"after": {"job": str(first), "previous": PREVIOUS}}
    rows = [new_job(id=first), new_job(id=second, args=json.dumps({"v": PREVIOUS}), order=json.dumps(after))]
    await batches.enqueue_given(connection, rows, whole=True)
    return first, second


async def arguments(connection: asyncpg.Connection, job: UUID) -> Any:
    return json.loads(await connection.fetchval("select args from asyncjobs.job where id = $1", job))


async def test_who_waits_for_the_first_of_a_window_is_its_duplicate_and_takes_no_window(scene: Scene) -> None:
    first, second, third = (unique("k", window=3600) for _ in range(3))
    enqueued = inserts.enqueue_ordered(scene.other, [first])
    async with scene.held(enqueued, inserts.enqueue_ordered(scene.worker, [second])) as (_, [stored]):
        assert (stored.id, stored.disposition) == (first.id, "duplicate")
    await jobs.finish(scene.worker, [succeeded(one) for one in await scene.run()])
    [late] = await inserts.enqueue_ordered(scene.worker, [third])
    assert (late.id, late.disposition) == (first.id, "duplicate")


async def test_a_job_cancelled_while_the_one_before_it_ends_gets_the_result_when_it_is_retried(scene: Scene) -> None:
    _, second = await a_chain(scene.worker)
    [running] = await scene.run()
    ending = jobs.finish(scene.worker, [succeeded(running, result="3")])
    async with scene.held(jobs.cancel(scene.other, second, "", 7), ending):
        assert (await states(scene.worker))[second] == State.cancelled
    await job_actions.retry(scene.other, [second])
    assert (await states(scene.worker))[second] == State.ready
    assert await arguments(scene.worker, second) == {"v": 3}


async def test_a_job_retried_while_the_one_before_it_ends_begins(scene: Scene) -> None:
    _, second = await a_chain(scene.worker)
    [running] = await scene.run()
    await jobs.cancel(scene.other, second, "", 7)
    ending = jobs.finish(scene.worker, [succeeded(running, result="3")])
    async with scene.held(job_actions.retry(scene.other, [second]), ending):
        assert (await states(scene.worker))[second] == State.ready
    assert await arguments(scene.worker, second) == {"v": 3}


async def test_the_newer_job_of_a_key_that_was_cancelled_begins_when_it_is_retried_after_the_older_one(
    scene: Scene,
) -> None:
    older, newer, third = (unique("k", "replace") for _ in range(3))
    await inserts.enqueue_ordered(scene.worker, [older])
    [running] = await scene.run()
    await inserts.enqueue_ordered(scene.worker, [newer])
    await jobs.cancel(scene.worker, newer.id, "", 7)
    await job_actions.retry(scene.worker, [newer.id])
    assert (await states(scene.worker))[newer.id] == State.scheduled, "the older one runs"
    await jobs.cancel(scene.worker, newer.id, "", 7)
    await jobs.finish(scene.worker, [succeeded(running)])
    await job_actions.retry(scene.worker, [newer.id])
    assert (await states(scene.worker))[newer.id] == State.ready
    [stored] = await inserts.enqueue_ordered(scene.worker, [third])
    assert (stored.id, stored.disposition) == (newer.id, "replaced")
    assert [claimed.id for claimed in await scene.run()] == [newer.id]


async def test_a_job_of_a_chain_does_not_leave_it_for_another_with_its_key_that_runs(scene: Scene) -> None:
    running = unique("k", "replace")
    await inserts.enqueue_ordered(scene.worker, [running])
    await scene.run()
    first, second = new_id(), unique("k", "replace")
    order = json.dumps({**json.loads(second.order), "after": {"job": str(first)}})
    made = await batches.enqueue_given(scene.worker, [new_job(id=first), second._replace(order=order)], whole=True)
    assert [(one.id, one.disposition) for one in made][1] == (running.id, "duplicate")
    assert await states(scene.worker) == {running.id: State.running}, "all or none"


async def test_one_that_replaces_a_waiting_job_of_a_chain_leaves_that_its_place_and_follows_it(scene: Scene) -> None:
    first, member, other = new_id(), unique("k"), unique("k", "replace")
    order = json.dumps({**json.loads(member.order), "after": {"job": str(first), "previous": PREVIOUS}})
    member = member._replace(order=order, args=json.dumps({"v": PREVIOUS}))
    await batches.enqueue_given(scene.worker, [new_job(id=first), member], whole=True)
    [stored] = await inserts.enqueue_ordered(scene.worker, [other])
    assert (stored.id, stored.disposition) == (other.id, "enqueued")
    for expected in (first, member.id, other.id):
        [claimed] = await scene.run()
        assert claimed.id == expected
        await jobs.finish(scene.worker, [succeeded(claimed, result="3")])


async def test_a_replaced_job_that_waited_for_its_retry_begins_anew(scene: Scene) -> None:
    older, newer = unique("k", "replace"), unique("k", "replace")
    await inserts.enqueue_ordered(scene.worker, [older])
    [running] = await scene.run()
    await jobs.reschedule(scene.worker, [rescheduled(running)])
    [stored] = await inserts.enqueue_ordered(scene.worker, [newer])
    assert (stored.id, stored.disposition) == (older.id, "replaced")
    row = await scene.worker.fetchrow("select attempt, errors, counts from asyncjobs.job")
    assert tuple(row) == (0, None, None)


async def test_a_job_that_has_recorded_steps_is_followed_and_not_replaced(scene: Scene) -> None:
    older, newer = unique("k", "replace"), unique("k", "replace")
    await inserts.enqueue_ordered(scene.worker, [older])
    [running] = await scene.run()
    await scene.worker.execute("update asyncjobs.job set progress = '{}'")
    await jobs.reschedule(scene.worker, [rescheduled(running)])
    [stored] = await inserts.enqueue_ordered(scene.worker, [newer])
    assert (stored.id, stored.disposition) == (newer.id, "enqueued")
    assert await scene.worker.fetchval("select after from asyncjobs.link where job = $1", newer.id) == older.id


async def test_a_retry_takes_no_job_that_ended_after_its_batches_were_looked_up(scene: Scene) -> None:
    """Its batch would stay settled, and never succeed."""
    made = []
    for _ in range(2):
        batch, job = new_id(), new_id()
        async with scene.worker.transaction():
            await batches.begin(scene.worker, [NewBatch(batch, None, "", None, None, None)])
            await batches.enqueue_given(scene.worker, [new_job(id=job, order=json.dumps({"batch": str(batch)}))])
        made.append((batch, job))
    (one, ended), (_, ending) = made
    running = {claimed.id: claimed for claimed in await scene.run(2)}
    await jobs.finish(scene.worker, [failed(running[ended])])
    await batches.settle(scene.worker, [one])
    async with scene.other.transaction():
        await scene.other.execute("select from asyncjobs.batch where id = $1 for update", one)
        retry = asyncio.ensure_future(job_actions.retry(scene.third, sorted([ended, ending])))
        await until_blocked(scene.watch)
        await jobs.finish(scene.worker, [failed(running[ending])])
    done = {each.id: each.done for each in await retry}
    assert done == {ended: True, ending: False}


async def test_a_retry_that_waits_for_another_job_with_its_key_is_refused_by_name(scene: Scene) -> None:
    before, taker = unique("k"), unique("k")
    await inserts.enqueue_ordered(scene.worker, [before, new_job()])
    running = await scene.run(2)
    await jobs.finish(scene.worker, [failed(one) for one in running])
    retry = job_actions.retry(scene.worker, [one.id for one in running])
    async with scene.held(inserts.enqueue_ordered(scene.other, [taker]), retry) as (_, done):
        assert {each.id: each.taken_by for each in done}[before.id] == taker.id
        assert [each.done for each in done if each.id != before.id] == [True], "the others are retried all the same"
