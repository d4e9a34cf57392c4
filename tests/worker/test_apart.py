"""What passes between a worker and the process of an attempt."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest

from asyncjobs import job
from asyncjobs.db.rows import Claimed, Reschedule
from asyncjobs.forking import _Forker
from asyncjobs.services import Services
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.settings import Settings
from asyncjobs.worker.apart import NUMBER, Apart, CannotFork, ChildDied, Recipe
from asyncjobs.worker.attempts import Attempt
from asyncjobs.worker.channel import BlockingChannel, Channel, _packed
from asyncjobs.worker.performer import Performer
from asyncjobs.worker.pools import Pool
from tests.support.processes import PATIENCE


class Child:
    """The other end, played by the test."""

    def __init__(self, apart: Apart) -> None:
        self.ours, self.end = socket.socketpair()
        self.channel = BlockingChannel(self.end)
        self.pool = Pool(1, PoolSettings(queues=["*"], concurrency=1), 500)
        self.pool.running = 1
        claimed = Claimed(1, 1, 0, 1, uuid4(), 1, 1, "apart.kind", "queue", "{}")
        self.attempt = Attempt(claimed, self.pool, lambda: None)
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.attempt.task = asyncio.ensure_future(apart._follow(Channel(self.ours), self.attempt, 5.0, self.exit_code))
        self.attempt.begun = True

    async def received(self) -> Any:
        return await asyncio.to_thread(self.channel.receive)


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    services = Services()
    made = Child(Apart("", Settings(), services))
    yield made
    made.end.close()
    assert made.attempt.task is not None
    made.attempt.task.cancel()
    await services.close()
    made.ours.close()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_message_that_a_cancellation_comes_amid_is_read_whole(child: Child) -> None:
    message = _packed(("end", "in time"))
    child.end.sendall(message[:10])
    await turns()
    child.attempt.cancel("timeout")
    await turns()
    child.end.sendall(message[10:])
    async with asyncio.timeout(PATIENCE):
        assert await child.attempt.task == "in time"
    assert await child.received() == ("cancel", "timeout")


async def test_an_attempt_that_is_cancelled_while_it_waits_for_a_slot_gets_one_and_its_time_for_cleanup(
    child: Child,
) -> None:
    child.channel.send("give_slot_back")
    await turns()
    child.pool.running = 1  # somebody else's
    child.channel.send("take_slot")
    await turns()
    child.attempt.cancel("user")
    assert [await child.received(), await child.received()] == [("cancel", "user"), ("slot",)]
    child.channel.send("end", "cleaned up")
    async with asyncio.timeout(PATIENCE):
        assert await child.attempt.task == "cleaned up"
    assert child.pool.running == 2


async def test_an_exit_that_is_told_before_the_process_has_said_its_name_is_known(child: Child) -> None:
    child.exit_code.set_result(-9)
    child.channel.send("pid", 4711)
    child.end.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChildDied, match="SIGKILL"):
            await child.attempt.task


async def test_a_process_that_was_never_made_is_no_crash(child: Child) -> None:
    child.end.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CannotFork):
            await child.attempt.task


class Unreadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


async def test_log_lines_that_cannot_be_logged_here_harm_nobody(child: Child, caplog: pytest.LogCaptureFixture) -> None:
    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left on device")

    quiet = logging.getLogger("apart.quiet")
    quiet.setLevel(logging.WARNING)
    full = Full()
    logging.getLogger("apart.full").addHandler(full)
    try:
        for name, more in (("quiet", {}), ("full", {}), ("odd", {"odd": Unreadable()}), ("plain", {})):
            record = logging.LogRecord(f"apart.{name}", logging.INFO, __file__, 1, f"of {name}", None, None)
            child.channel.send("log", pickle.dumps(dict(vars(record), **more)))
        with caplog.at_level(logging.INFO):
            child.channel.send("end", "logged")
            async with asyncio.timeout(PATIENCE):
                assert await child.attempt.task == "logged"
    finally:
        logging.getLogger("apart.full").removeHandler(full)
        quiet.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("apart")] == ["of plain"]


class NoProcess:
    """Where none can be had, for now or at all."""

    kinds = frozenset({"apart.asking", "apart.suspected"})

    def __init__(self, *, available: bool) -> None:
        self.available = available

    async def ready(self) -> None: ...

    async def run(self, attempt: Attempt, *, grace: float) -> Any:
        raise CannotFork("too many processes")


@job(kind="apart.asking", executor="process")
def asking() -> None: ...


@pytest.mark.parametrize("crashes", [0, 2], ids=["a process job", "a suspect"])
async def test_an_attempt_for_which_there_is_no_process_now_is_given_back_as_if_it_had_not_been(crashes: int) -> None:
    apart: Any = NoProcess(available=True)
    performer = Performer(retention=1, middleware=(), cancel=lambda *_: None, writer=cast("Any", None), apart=apart)
    claimed = Claimed(1, 1, 0, 1, uuid4(), 7, 3, "apart.asking", "queue", "{}", crashes)
    attempt = Attempt(claimed, Pool(1, PoolSettings(queues=["*"], concurrency=1), 500), lambda: None)
    attempt.apart = bool(crashes)
    assert await performer.run(attempt) == Reschedule(claimed.id, claimed.fence, 1.0)


def test_a_fork_that_fails_ends_that_attempt_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    control, requests, child = (socket.socketpair() for _ in range(3))
    forker = _Forker(
        BlockingChannel(control[1]), requests[1], Recipe(path=(), modules=(), url="", settings=Settings(), log_level=0)
    )
    with child[1]:
        socket.send_fds(requests[0], [NUMBER.pack(1)], [child[1].fileno()])
    forker._fork()
    assert child[0].recv(1) == b""  # its worker is told
    assert not forker._over and not forker._groups
    for each in (*control, *requests, child[0]):
        each.close()
