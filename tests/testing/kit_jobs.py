"""Jobs for the tests of the test kit. What they leave outside the database is lines of a file."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import anyio

from asyncjobs import Cursor, Discard, Job, attribute, current_job, discard_on, job, retry_on, step

LINES = Path("/nowhere")
"""Set by each test."""


def reset() -> None:
    LINES.write_text("")


def lines() -> list[str]:
    return LINES.read_text().split()


def write(line: object) -> None:
    with LINES.open("a") as file:
        file.write(f"{line}\n")


def write_once(line: object) -> None:
    if str(line) not in lines():
        write(line)


@job(queue="mailers")
async def send_welcome(user_id: int, template: str = "hello") -> str:
    write(f"{template}-{user_id}")
    return f"{template} {user_id}"


@job
async def at_times(when: datetime, queue: str = "", names: frozenset[str] = frozenset()) -> None: ...


@retry_on(ConnectionError, wait=60, attempts=2, jitter=0)
@job
async def flaky(fails: int) -> int:
    write(f"attempt-{current_job().attempt}")
    if current_job().attempt <= fails:
        raise ConnectionError("no answer")
    return fails


@job
async def broken() -> None:
    raise ValueError("broken by intent")


@job
async def gives_up() -> None:
    raise Discard("no use")


@job
async def parent(children: int) -> int:
    made = [await send_welcome(n).enqueue() for n in range(children)]
    return len([await child for child in made])


@job
async def waits_for_later() -> str:
    return await (await send_welcome(1).set(wait=3600).enqueue())


@job(expires_in=60)
async def soon() -> None: ...


class Mapped(Job):
    rows: int = 30

    @step
    async def load(self, cursor: Cursor[int]) -> None:
        async def one(row: int) -> None:
            await asyncio.sleep(0)
            write(row)

        await cursor.map(one, range(1, self.rows + 1), concurrency=5)


@job
async def sleeps() -> str:
    await current_job().sleep("night", timedelta(hours=8))
    return "rested"


@job
async def asks() -> str:
    try:
        return str(await current_job().wait_for("approved", key=1, timeout=timedelta(days=7)))
    except TimeoutError:
        return "nobody answered"


@job
async def asks_for_ever() -> str:
    return str(await current_job().wait_for("approved"))


class Import(Job):
    rows: int = 4

    @step
    async def parse(self) -> None:
        write("parse")
        await asyncio.sleep(0)
        write("parsed")

    @step
    async def load(self, cursor: Cursor[int]) -> None:
        for row in range((cursor.value or 0) + 1, self.rows + 1):
            write(row)
            await cursor.set(row)

    @step
    async def report(self) -> None:
        write("report")


# Not safe, each at another kind of place


@job
async def repeats_after_wait() -> None:
    write("charged")
    await asyncio.sleep(0)


@job
async def repeats_at_its_end() -> None:
    write("charged")


async def charge(line: str) -> None:
    await asyncio.sleep(0)
    write(line)
    await asyncio.sleep(0)


@job
async def repeats_in_a_child() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(charge("one"))
        group.create_task(charge("two"))


class RepeatsBeforeCheckpoint(Job):
    @step
    async def charge(self) -> None:
        write("charged")


@job
async def loses() -> None:
    if "taken" in lines():
        return
    write("taken")
    await asyncio.sleep(0)
    write("done")


@job
async def repeats_when_answered() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def charges() -> None:
        if not answer.cancelled():
            write("charged")
            answer.set_result(None)

    loop.call_later(0.001, charges)
    await answer


@job
async def swallows_its_cancellation() -> None:
    try:
        write_once("begun")
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        write("cancelled")


@job
async def holds_what_it_takes() -> None:
    lock = LINES.with_suffix(".lock")
    if lock.exists():
        return
    lock.write_text("")
    try:
        await asyncio.sleep(0)
        write("done")
    finally:  # which a cancellation runs, and a kill does not
        lock.unlink()


UNSAFE = {
    "kill": [
        repeats_after_wait,
        repeats_when_answered,
        repeats_at_its_end,
        repeats_in_a_child,
        RepeatsBeforeCheckpoint,
        loses,
        holds_what_it_takes,
    ],
    "cancel": [repeats_after_wait, repeats_when_answered, repeats_in_a_child, loses, swallows_its_cancellation],
}


# Safe


@job
async def looks_before_it_writes() -> None:
    await asyncio.sleep(0)
    write_once("charged")
    await asyncio.sleep(0)


@job
async def looks_in_each_child() -> None:
    async def one(line: str) -> None:
        await asyncio.sleep(0)
        write_once(line)

    async with asyncio.TaskGroup() as group:
        for name in ("one", "two", "three"):
            group.create_task(one(name))


async def counted(most: int):
    for number in range(most):
        await asyncio.sleep(0)
        yield number


@job
async def waits_in_every_way() -> None:
    async with asyncio.timeout(10):
        await asyncio.sleep(0.001)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 0.001)
    with anyio.move_on_after(10):
        await anyio.sleep(0.001)
    await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0.001))
    await asyncio.to_thread(write_once, "thread")
    async for number in counted(2):
        write_once(number)
    queue: asyncio.Queue[int] = asyncio.Queue()
    putting = asyncio.create_task(queue.put(1))
    await queue.get()
    await asyncio.shield(putting)
    await asyncio.wait_for(asyncio.sleep(0.001), 10)
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
    write_once("end")


@job
async def again() -> None:
    await again().enqueue()


class Safe(Job):
    """Isolated steps, a cursor, an attribute, a durable sleep and a retry."""

    total: int = attribute(default=0)

    @step(isolated=True)
    async def draw(self, connection) -> None:
        await connection.execute("insert into card values ('drawn')")
        self.total += 1

    @step
    async def each(self, cursor: Cursor[int]) -> None:
        for number in range((cursor.value or 0) + 1, 3):
            write_once(number)
            await cursor.set(number)

    @step(isolated=True)
    async def count(self, connection) -> None:
        self.total += 1
        await connection.execute("insert into card values ('total ' || $1::text)", str(self.total))

    async def perform(self) -> None:
        await self.run_steps()
        await self.sleep("rest", 3600)


class RepeatsAnInsert(Job):
    """What `isolated=True` is for: the effect and the checkpoint are two commits."""

    @step
    async def draw(self) -> None:
        import asyncpg

        connection = await asyncpg.connect(URL)
        await connection.execute("insert into card values ('drawn')")
        await connection.close()


URL = ""


@discard_on(KeyError)
@job
async def looks_up() -> None:
    raise KeyError("gone")


class RepeatsInAThread(Job):
    @step
    def write(self) -> None:
        write("written")


class HalfInAThread(Job):
    """Unsafe between its two lines, where nothing is cut."""

    @step
    def write(self) -> None:
        if not lines():
            write("one")
            write("two")


class Assigning(Job):
    @step
    def count(self) -> None:
        self.total = 3
