"""Jobs whose tasks and callbacks exit."""

import asyncio

import anyio

from asyncjobs import current_job, job
from tests.support import oracle

WHATS = ["SystemExit(0)", "SystemExit(2)", "KeyboardInterrupt"]


def exits(what: str) -> None:
    if what == "KeyboardInterrupt":
        raise KeyboardInterrupt
    raise SystemExit(int(what[-2]))


async def exiting(what: str) -> None:
    await asyncio.sleep(0)
    exits(what)


async def in_tasks(what: str, how: str) -> None:
    match how:
        case "task":
            going = asyncio.create_task(exiting(what))
            await asyncio.sleep(600)
            await going
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(exiting(what))
        case "gather":
            await asyncio.gather(exiting(what), asyncio.sleep(600), return_exceptions=True)
        case "library":
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(exiting, what)
        case "wait_for":
            await asyncio.wait_for(exiting(what), 600)
        case "of a task":
            await asyncio.create_task(in_tasks(what, "task"))


@job(kind="exits.in_a_task")
async def in_a_task(what: str, how: str) -> str:
    with oracle.interval(current_job()):
        try:
            await in_tasks(what, how)
        except BaseException:
            return "caught"
        return "done"


@job(kind="exits.in_a_callback")
async def in_a_callback(what: str) -> str:
    with oracle.interval(current_job()):
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def callback() -> None:
            over.set_result(None)
            if what == "stop":
                loop.stop()
            else:
                exits(what)

        loop.call_soon(callback)
        await over
        return "done"


@job(kind="exits.again_and_again")
async def again_and_again() -> None:
    loop = asyncio.get_running_loop()
    while True:
        over = loop.create_future()

        def callback(over: asyncio.Future[None] = over) -> None:
            over.set_result(None)
            raise SystemExit(0)

        loop.call_soon(callback)
        await over


@job(kind="exits.left_behind")
async def left_behind(what: str) -> str:
    async def later() -> None:
        await asyncio.sleep(0.1)
        exits(what)

    left.add(asyncio.create_task(later()))
    return "done"


left: set[asyncio.Task[None]] = set()
