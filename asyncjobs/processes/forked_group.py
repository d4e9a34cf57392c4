"""What runs attempts in a forked process, and the group of them that one such process runs."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from asyncjobs import errors
from asyncjobs.db.connecting import PINNED_PLANS
from asyncjobs.db.sessions import Sessions
from asyncjobs.db.transactions import isolated_sessions
from asyncjobs.opening import Opened
from asyncjobs.performing import open_clients
from asyncjobs.performing.attempt import Attempt
from asyncjobs.performing.exits_of_tasks import guarded_tasks
from asyncjobs.records.claimed import Claimed
from asyncjobs.worker.job_processes.channel import BlockingChannel
from asyncjobs.worker.job_processes.forking_process import Recipe
from asyncjobs.worker.job_processes.sent_outcomes import said
from asyncjobs.worker.running.attempt_runner import AttemptRunner
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.step_recorder import MOST_ISOLATED, StepWriter

EXIT_WITHIN = 5.0
"""Seconds that a child whose end was taken may need to exit: a standard output that nobody reads holds it."""


class Sender(Protocol):
    """Where messages to the worker go."""

    def send(self, *message: Any) -> None:
        """Send a message."""


@asynccontextmanager
async def open_runner(recipe: Recipe) -> AsyncIterator[AttemptRunner]:
    """Open what the jobs of this process need: a client, and the sessions that record steps."""
    settings = recipe.settings
    async with AsyncExitStack() as stack:
        opened = Opened(recipe.url, settings, stack)
        open_clients.own(opened.client)
        isolated = isolated_sessions(recipe.url, size=MOST_ISOLATED, deadline=settings.lease)
        pinned = {**PINNED_PLANS, "lock_timeout": "200ms"}
        recording = Sessions(recipe.url, size=1, name="asyncjobs steps", settings=pinned, deadline=settings.lease)
        writer = StepWriter(
            recording, isolated, lambda attempt: attempt.cancel("lease_lost"), most=settings.max_recorded
        )
        live = LiveWriter(recording, lambda attempt: attempt.cancel("lease_lost"))
        stack.callback(recording.close)
        stack.callback(isolated.close)
        runner = AttemptRunner(
            retention=settings.retention,
            middleware=opened.client.middleware,
            version_grace=settings.version_grace,
            writer=writer,
            live=live,
            max_interruptions=settings.max_interruptions,
            log_jobs=settings.log_jobs,
        )
        for service in (writer, live):
            writing = asyncio.get_running_loop().create_task(service.run())
            stack.callback(writing.cancel)
        stack.enter_context(guarded_tasks())
        yield runner


def flush() -> None:
    """Do what would be done at the end of an interpreter, and is not at that of a fork."""
    sys.stdout.flush()
    sys.stderr.flush()
    errors.flush()


class Slots:
    """The slot of the attempt, which the worker keeps."""

    def __init__(self, channel: Sender) -> None:
        self._channel = channel
        self._waiting: asyncio.Future[None] | None = None

    def give_back(self) -> None:
        """Free it."""
        self._channel.send("give_slot_back")

    async def take_slot(self) -> None:
        """Wait until the worker has one to go on in."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._channel.send("take_slot")
        await self._waiting

    def take_slot_at_once(self) -> None:
        """Go on in one, whether one is free or not."""
        self._channel.send("take_slot")

    def given(self) -> None:
        """Take note that the worker has given one."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Line:
    """The line of one attempt to the worker; see `asyncjobs.worker.job_processes.shared_process`, the other side."""

    def __init__(self, channel: BlockingChannel, number: int) -> None:
        self.number = number
        self._channel = channel

    def send(self, *message: Any) -> None:
        self._channel.send(self.number, *message)


class _Run:
    """One attempt here."""

    def __init__(self, channel: BlockingChannel, number: int, claimed: Claimed) -> None:
        self.line = _Line(channel, number)
        self.slots = Slots(self.line)
        self.attempt = Attempt(claimed, self.slots)


class ForkedGroup:
    """Attempts that share this process: it takes more in while it runs any, and ends with the last.

    Args:
        channel: To the worker.
        recipe: What this process must know.
    """

    def __init__(self, channel: BlockingChannel, recipe: Recipe) -> None:
        self._channel = channel
        self._recipe = recipe
        self._runs: dict[int, _Run] = {}
        """By their lines, until their ends are sent."""
        self._over = asyncio.Event()

    def run(self, first: tuple[Any, ...]) -> None:
        """Run attempts, from the message that brings the first of them, until the worker has let go of all."""
        asyncio.run(self._perform(first))
        flush()

    async def _perform(self, first: tuple[Any, ...]) -> None:
        async with open_runner(self._recipe) as runner, asyncio.TaskGroup() as tasks:
            loop, context = asyncio.get_running_loop(), contextvars.copy_context()

            def obey(run: _Run, words: list[Any]) -> None:
                match words:
                    case ["run", _]:
                        tasks.create_task(self._run(run, runner))
                    case ["stop"]:
                        run.attempt.stop()
                    case ["cancel", reason]:
                        run.attempt.cancel(reason)
                    case ["slot"]:
                        run.slots.given()

            def listen(message: tuple[Any, ...] | None) -> None:
                while message is not None:
                    number, *words = message
                    if words[0] == "run":
                        # Known from here on: the worker may be gone before the loop comes to it.
                        self._runs[number] = _Run(self._channel, number, words[1])
                    if (run := self._runs.get(number)) is not None:
                        loop.call_soon_threadsafe(obey, run, words, context=context)
                    message = self._channel.receive()
                if self._runs:
                    os.killpg(0, signal.SIGKILL)  # the worker is gone, and its lease: nothing of this may be written
                loop.call_soon_threadsafe(self._over.set)
                time.sleep(EXIT_WITHIN)
                os._exit(0)

            threading.Thread(target=listen, args=[first], name="asyncjobs worker's word", daemon=True).start()
            await self._over.wait()

    async def _run(self, run: _Run, runner: AttemptRunner) -> None:
        # Set here: a task that is cancelled before it has begun would run nothing, and send no end.
        run.attempt.task = asyncio.current_task()
        end = await runner.run(run.attempt)
        del self._runs[run.line.number]  # first: once the worker knows, it may close the channel
        run.line.send("end", said(end))
