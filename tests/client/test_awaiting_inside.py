"""`await other` inside a job gives its slot back while it waits, and never more than `concurrency` jobs go on at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

import anyio.from_thread
import pytest
from client_jobs import Gate, double, fail, wait_at

from asyncjobs import AsyncJobs, InvalidOption, JobCancelled, JobFailed, current_job, job
from tests.support.processes import PATIENCE, until


class Going:
    """How many stretches of job code go on at once; each is a stretch between two awaits of other jobs."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0

    async def stretch(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(3):
            await asyncio.sleep(0.001)
        self.now -= 1


going = Going()


@pytest.fixture(autouse=True)
def fresh() -> None:
    going.__init__()


SETTINGS = {"pools": [{"queues": ["*"], "concurrency": 1}]}


@job(kind="inside.tree")
async def tree(depth: int, width: int = 1) -> int:
    """Counts the jobs of a tree: each awaits its children, all at once."""
    await going.stretch()
    if depth == 0:
        return 1
    children = [await tree(depth - 1, width).enqueue() for _ in range(width)]
    counts = await asyncio.gather(*(child.result() for child in children))
    await going.stretch()
    return 1 + sum(counts)


@job(kind="inside.performed_now")
async def performed_now() -> int:
    return await tree(2).perform_now()


@job(kind="inside.tree_in_thread")
def tree_in_thread(depth: int) -> int:
    if depth == 0:
        return 1

    async def child() -> int:
        return await (await tree_in_thread(depth - 1).enqueue())

    return 1 + anyio.from_thread.run(child)


@job(kind="inside.itself")
async def itself() -> str:
    me = current_job()
    try:
        await me
    except InvalidOption as error:
        return str(error)
    return "waited"


@job(kind="inside.with_failing_child")
async def with_failing_child() -> str:
    child = await fail("in the child").enqueue()
    try:
        await child
    except JobFailed as error:
        return f"{error.error_type}: {error.error_message}"
    return "no error"


@job(kind="inside.lets_it_out")
async def lets_it_out() -> None:
    await (await fail("in the child").enqueue())


limits: dict[str, asyncio.Timeout] = {}


@job(kind="inside.impatient")
async def impatient(gate: str) -> str:
    child = await wait_at(gate).enqueue()
    try:
        async with asyncio.timeout(None) as limit:
            limits[gate] = limit
            return await child.result(timeout=3600)
    except TimeoutError:
        Gate.all[gate].open.set()
        return "gave up"


@job(kind="inside.awaits_at")
async def awaits_at(gate: str) -> str:
    return await (await wait_at(gate).enqueue())


@job(kind="inside.leaves_a_task")
async def leaves_a_task(gate: str) -> None:
    async def after_the_job() -> None:
        await Gate.all[gate].open.wait()
        await (await double(1).enqueue())
        Gate.all[gate].arrived.set()

    tasks.append(asyncio.ensure_future(after_the_job()))


tasks: list[asyncio.Task[None]] = []


async def test_one_slot_is_enough_for_jobs_that_wait_for_each_other(jobs: AsyncJobs) -> None:
    assert await (await tree(1).enqueue()).result(timeout=PATIENCE) == 2
    assert going.most == 1


async def test_one_slot_is_enough_for_a_job_that_awaits_another_by_its_id(jobs: AsyncJobs) -> None:
    @job(kind="inside.by_id")
    async def by_id() -> int:
        return await jobs.result((await tree(0).enqueue()).id)

    assert await jobs.result((await by_id().enqueue()).id, timeout=20) == 1


async def test_one_slot_is_enough_for_a_chain_of_four(jobs: AsyncJobs) -> None:
    assert await (await tree(3).enqueue()).result(timeout=PATIENCE) == 4
    assert going.most == 1


async def test_one_slot_is_enough_for_a_tree_whose_children_are_awaited_together(jobs: AsyncJobs) -> None:
    assert await (await tree(2, width=4).enqueue()).result(timeout=20) == 21
    assert going.most == 1


async def test_a_job_performed_inside_another_gives_back_the_slot_of_that(jobs: AsyncJobs) -> None:
    assert await (await performed_now().enqueue()).result(timeout=PATIENCE) == 3
    assert going.most == 1


async def test_never_more_than_concurrency_go_on_at_once(make_jobs: Callable[..., AsyncJobs]) -> None:
    async with make_jobs(pools=[{"queues": ["*"], "concurrency": 3}]).running():
        made = [await tree(2, width=3).enqueue() for _ in range(4)]
        assert await asyncio.gather(*(each.result(timeout=20) for each in made)) == [13] * 4
    assert 1 < going.most <= 3


async def test_def_jobs_wait_for_each_other_too(jobs: AsyncJobs) -> None:
    assert await (await tree_in_thread(2).enqueue()).result(timeout=PATIENCE) == 3


async def test_a_job_that_awaits_itself_is_told_so(jobs: AsyncJobs) -> None:
    assert "awaits itself" in await (await itself().enqueue()).result(timeout=PATIENCE)


async def test_a_failing_child_is_the_parents_error(jobs: AsyncJobs) -> None:
    result = await (await with_failing_child().enqueue()).result(timeout=PATIENCE)
    assert result == "builtins.ValueError: in the child"
    with pytest.raises(JobFailed, match="in the child") as raised:
        await (await lets_it_out().enqueue()).result(timeout=PATIENCE)
    assert raised.value.error_type == "asyncjobs.exceptions.JobFailed"


async def test_a_parent_that_gives_up_waiting_goes_on_when_a_slot_is_free(jobs: AsyncJobs) -> None:
    # The child holds the one slot; the parent's timeout ends its wait, and opens the gate only with a slot of its own.
    gate = Gate("impatient")
    made = await impatient("impatient").enqueue()
    await gate.arrived.wait()
    limits["impatient"].reschedule(0)
    assert await until(lambda: bool(jobs._worker.parts.pools[0]._resuming))
    assert not gate.open.is_set()
    gate.open.set()
    assert await made.result(timeout=PATIENCE) == "gave up"


async def test_the_slot_is_free_for_others_again_after_each_wait(jobs: AsyncJobs) -> None:
    for _ in range(3):
        assert await (await tree(1).enqueue()).result(timeout=PATIENCE) == 2
        assert await (await double(2).enqueue()).result(timeout=PATIENCE) == 4


async def test_a_task_that_outlives_its_job_takes_no_slot_from_others_and_adds_none(jobs: AsyncJobs) -> None:
    gate = Gate("task")
    await (await leaves_a_task("task").enqueue()).result(timeout=PATIENCE)
    busy = Gate("busy")
    occupying = await wait_at("busy").enqueue()
    await busy.arrived.wait()  # the one slot is taken
    gate.open.set()  # the task awaits a job of its own now
    made = [await tree(0).enqueue() for _ in range(3)]
    with pytest.raises(TimeoutError):
        await made[0].result(timeout=0.3)  # no slot for it while the busy job holds the only one
    busy.open.set()
    assert await occupying.result(timeout=PATIENCE) == "busy"
    async with asyncio.timeout(PATIENCE):
        await gate.arrived.wait()
    assert await asyncio.gather(*(each.result(timeout=PATIENCE) for each in made)) == [1, 1, 1]
    assert await (await tree(2, width=2).enqueue()).result(timeout=PATIENCE) == 7
    assert going.most == 1


async def test_a_parent_that_is_cancelled_does_not_wait_for_the_slot_that_its_child_has(jobs: AsyncJobs) -> None:
    gate = Gate("cancelled")
    made = await awaits_at("cancelled").enqueue()
    await gate.arrived.wait()
    await made.cancel("enough")
    with pytest.raises(JobCancelled, match="enough"):
        await made.result(timeout=PATIENCE)
    assert not gate.open.is_set()
    gate.open.set()
    assert await (await double(1).enqueue()).result(timeout=PATIENCE) == 2
    assert await until(lambda: jobs._worker.parts.pools[0].running == 0)


async def test_workers_that_stop_again_and_again_under_a_job_that_waits_for_another_are_not_counted(
    client: AsyncJobs, make_jobs: Callable[..., AsyncJobs]
) -> None:
    arrived = asyncio.Event()

    @job(kind="inside.waits_for_long")
    async def waits_for_long(other: UUID) -> int:
        arrived.set()
        return int(await client.result(other))

    late = await double(21).set(wait=3600).enqueue()
    made = await waits_for_long(late.id).enqueue()
    for _ in range(4):
        arrived.clear()
        async with make_jobs(max_interruptions=1).running():
            await arrived.wait()
    status = await made.status()
    assert (status.state, status.attempt, status.errors) == ("ready", 0, [])
