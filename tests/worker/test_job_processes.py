"""What passes between a worker and the process of an attempt."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import uuid4

import pytest

from asyncjobs import job
from asyncjobs.db.rows import Finish, RatePause, Reschedule
from asyncjobs.logs import carried
from asyncjobs.performing.attempt import Attempt
from asyncjobs.processes.forking import _Forker
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import Pool as PoolSettings
from asyncjobs.settings import Settings
from asyncjobs.tasks.services import Services
from asyncjobs.worker.job_processes.attempt_process import ChildDied
from asyncjobs.worker.job_processes.channel import BlockingChannel, Channel, packed
from asyncjobs.worker.job_processes.forking_process import NUMBER, CannotFork, Recipe, recipe
from asyncjobs.worker.job_processes.job_processes import JobProcesses
from asyncjobs.worker.job_processes.sent_outcomes import heard, said
from asyncjobs.worker.job_processes.suspect_groups import Group
from asyncjobs.worker.running.attempt_runner import AttemptRunner
from asyncjobs.worker.slots.pools import Pool
from tests.support.processes import PATIENCE


class Child:
    """The other end, played by the test."""

    def __init__(self, processes: JobProcesses) -> None:
        self.ours, self.socket = socket.socketpair()
        self.channel = BlockingChannel(self.socket)
        self.pool = Pool(1, PoolSettings(queues=["*"], concurrency=1), 500)
        self.pool.running = 1
        claimed = Claimed(1, 1, 0, 1, uuid4(), 1, 1, "apart.kind", "queue", "{}")
        self.attempt = Attempt(claimed, self.pool, lambda: None)
        self.exit_code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.attempt.task = asyncio.ensure_future(
            processes._child(Channel(self.ours), self.attempt, 5.0, 1, self.exit_code).follow()
        )

    def end(self, result: str) -> list[Any]:
        """The words of its end."""
        return said(Finish(*self.attempt.row, 4, result, None, None, 7))

    async def result(self) -> Any:
        async with asyncio.timeout(PATIENCE):
            assert self.attempt.task is not None
            return (await self.attempt.task).result

    async def received(self) -> Any:
        return await asyncio.to_thread(self.channel.receive)


@pytest.fixture
async def child() -> AsyncIterator[Child]:
    services = Services()
    made = Child(JobProcesses("", Settings(), services))
    yield made
    made.socket.close()
    assert made.attempt.task is not None
    made.attempt.task.cancel()
    await services.close()
    made.ours.close()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_message_that_a_cancellation_comes_amid_is_read_whole(child: Child) -> None:
    message = packed(["end", child.end("in time")])
    child.socket.sendall(message[:10])
    await turns()
    child.attempt.cancel("timeout")
    await turns()
    child.socket.sendall(message[10:])
    assert await child.result() == "in time"
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
    child.channel.send("end", child.end("cleaned up"))
    assert await child.result() == "cleaned up"
    assert child.pool.running == 2


async def test_an_exit_that_is_told_before_the_process_has_said_its_name_is_known(child: Child) -> None:
    child.exit_code.set_result(-9)
    child.channel.send("pid", 4711)
    child.socket.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChildDied, match="SIGKILL"):
            await child.attempt.task


async def test_a_process_that_was_never_made_is_no_crash(child: Child) -> None:
    child.socket.close()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CannotFork):
            await child.attempt.task


@pytest.mark.parametrize(
    "words",
    [
        ["finish", str(uuid4()), 1, 4, "1", None, None, 7, None, []],
        ["finish", "ID", 2, 4, "1", None, None, 7, None, []],
        ["finish", "ID", 1, 2, "1", None, None, 7, None, []],
        ["finish", "ID", 1, 4, 1, None, None, 7, None, []],
        ["finish", "ID", 1, 4, "1", None, None, 10**9, None, []],
        ["finish", "ID", True, 4, "1", None, None, 7, None, []],
        ["finish", "ID", 1, 4, "1", None, None, 7, None],
        ["reschedule", "ID", 1, float("nan"), None, None, True, None, None, False, False, []],
        ["reschedule", "ID", 1, -1, None, None, True, None, None, False, False, []],
        ["reschedule", "ID", 1, 0, None, None, True, None, 10**6, False, False, []],
        ["reschedule", "ID", 1, 0, None, None, "yes", None, None, False, False, []],
        ["reschedule", "ID", 1, 0, None, None, True, None, None, False, False, [], True],
        *(
            ["finish", "ID", 1, 5, None, "{}", None, 7, None, pauses]
            for pauses in (
                None,
                {},
                "k",
                [["k"]],
                [["k", 1, 2]],
                ["k1"],
                [[1, 1]],
                [["", 1]],
                [["k" * 257, 1]],
                [["k\x00", 1]],
                [["k", -1]],
                [["k", "1"]],
                [["k", True]],
                [["k", float("nan")]],
                [["k", 86_401]],
                [["k", 1]] * 101,
            )
        ),
        "finish",
        None,
    ],
)
async def test_an_end_of_another_attempt_or_of_another_shape_is_refused(child: Child, words: Any) -> None:
    mine = str(child.attempt.claimed.id)
    child.channel.send("pid", 4711)
    child.channel.send("end", [mine if word == "ID" else word for word in words] if isinstance(words, list) else words)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChildDied, match="an outcome that is refused"):
            await child.attempt.task


@pytest.mark.parametrize("end", [
    None,
    Finish(uuid4(), 3, 5, None, "{}", "why", 0),
    Reschedule(uuid4(), 4, 1.5, "{}", '{"a": 1}', spent=True, queue="low", priority=-3),
    Reschedule(uuid4(), 5, started=True, waits=True),
    Finish(uuid4(), 3, 5, None, "{}", "why", 0, pauses=(RatePause("stripe", 17.5), RatePause("k(n) 7", 60))),
    Reschedule(uuid4(), 4, 1.5, spent=True, pauses=(RatePause("stripe", 86_400.0),)),
])  # fmt: skip
def test_an_end_is_heard_as_it_was_said(end: Any) -> None:
    row = (uuid4(), 1) if end is None else (end.id, end.fence)
    claimed = Claimed(1, 1, 0, 1, *row, 1, "apart.kind", "queue", "{}")
    assert heard(json.loads(json.dumps(said(end))), claimed) == end


class Harmful:
    def __reduce__(self) -> Any:
        return harm, ()


def harm() -> None:
    done.append("harm")


done: list[str] = []


async def test_nothing_that_a_process_says_is_unpickled(child: Child) -> None:
    body = pickle.dumps(("log", pickle.dumps(Harmful()), Harmful()))
    child.channel.send("pid", 4711)
    child.socket.sendall(struct.pack("!Q", len(body)) + body)
    child.exit_code.set_result(1)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ChildDied):
            await child.attempt.task
    assert done == []


async def test_log_lines_that_cannot_be_logged_here_harm_nobody(child: Child, caplog: pytest.LogCaptureFixture) -> None:
    class Full(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("no space left on device")

    quiet = logging.getLogger("apart.quiet")
    quiet.setLevel(logging.WARNING)
    full = Full()
    logging.getLogger("apart.full").addHandler(full)
    try:
        for name, more in (
            ("quiet", {}),
            ("full", {}),
            ("odd", {"level": "high"}),
            ("no text", {"message": 5}),
            ("plain", {}),
        ):
            record = logging.LogRecord(f"apart.{name}", logging.INFO, __file__, 1, f"of {name}", None, None)
            child.channel.send("log", carried(record) | more)
        child.channel.send("log", "no record")
        with caplog.at_level(logging.INFO):
            child.channel.send("end", child.end("logged"))
            assert await child.result() == "logged"
    finally:
        logging.getLogger("apart.full").removeHandler(full)
        quiet.setLevel(logging.NOTSET)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("apart")] == ["of plain"]


class NoProcess:
    """Where none can be had, for now or at all."""

    kinds = frozenset({"apart.asking", "apart.suspected"})

    def __init__(self, *, available: bool) -> None:
        self.available, self.forking = available, self

    async def ready(self) -> None: ...

    async def run(self, attempt: Attempt, group: Group | None, *, grace: float) -> Any:
        raise CannotFork("too many processes")


@job(kind="apart.asking", executor="process")
def asking() -> None: ...


@pytest.mark.parametrize("crashes", [0, 2], ids=["a process job", "a suspect"])
async def test_an_attempt_for_which_there_is_no_process_now_is_given_back_as_if_it_had_not_been(crashes: int) -> None:
    job_processes: Any = NoProcess(available=True)
    runner = AttemptRunner(
        retention=1,
        middleware=(),
        cancel=lambda *_: None,
        writer=cast("Any", None),
        live=cast("Any", None),
        job_processes=job_processes,
    )
    claimed = Claimed(1, 1, 0, 1, uuid4(), 7, 3, "apart.asking", "queue", "{}", crashes)
    attempt = Attempt(claimed, Pool(1, PoolSettings(queues=["*"], concurrency=1), 500), lambda: None)
    assert await runner.run(attempt, Group(1) if crashes else None) == Reschedule(claimed.id, claimed.fence, 1.0)


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


def test_a_kind_of_no_module_keeps_no_other_from_running_in_processes() -> None:
    of_no_module = "from asyncjobs import job\n@job(kind='of_no_module')\nasync def made_up(): ..."
    exec(of_no_module, {"__name__": "there_is_no_such_module"})

    @job(kind="of_a_module")
    async def real() -> None: ...

    modules = recipe("", Settings()).modules
    assert __name__ in modules
    assert "there_is_no_such_module" not in modules
