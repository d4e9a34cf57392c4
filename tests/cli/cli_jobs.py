"""The jobs that the processes of these tests run; each says in the log when it begins."""

import asyncio
import logging
import os
import time

from asyncjobs import Cursor, Discard, Job, current_job, job, step

logger = logging.getLogger("cli_jobs")


def begun() -> None:
    logger.info("begun %s", current_job().kind.rpartition(".")[2])


@job
async def add(a: int, b: int = 1) -> int:
    begun()
    return a + b


@job
async def note(text: str, many: list[int] | None = None) -> str:
    begun()
    return f"{text} {many}"


@job
async def quiet() -> None: ...


@job(executor="process")
def ends_its_process() -> None:
    os._exit(3)


@job
async def brief() -> str:
    begun()
    await asyncio.sleep(0.5)
    return "finished"


@job
async def forever() -> None:
    begun()
    await asyncio.sleep(3600)


@job
async def once_forever() -> None:
    begun()
    if current_job().attempt == 1:
        await asyncio.sleep(3600)


@job
async def stubborn() -> None:
    begun()
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            logger.info("ignored its cancellation")


@job
async def spin() -> None:
    begun()
    while True:
        time.sleep(0.01)


@job
def thread() -> None:
    begun()
    time.sleep(3600)


@job
async def fail(word: str) -> None:
    begun()
    raise ValueError(f"this fails: {word}")


@job
async def unwanted(why: str) -> None:
    begun()
    raise Discard(why)


class Stepped(Job):
    secret: str

    @step
    async def one(self) -> str:
        return self.secret

    @step
    async def two(self, cursor: Cursor[str]) -> None:
        await cursor.set(self.secret)


class Greet(Job, queue="critical"):
    name: str

    async def perform(self) -> str:
        begun()
        return f"hello {self.name}"


@job
async def part(n: int, broken: bool = False) -> int:
    if broken and current_job().attempt == 1:
        raise ValueError("broken")
    return n


@job
async def whole(parts: int, broken: int = 0) -> int:
    """Runs parts, of which the first `broken` fail once."""
    begun()
    return sum(await current_job().run("parts", *(part(n, n < broken) for n in range(parts))))
