"""A shared process of several suspects, as their worker sees it: one channel, and on it a line for each attempt.

There is one channel, since many systems do not allow a process a descriptor for each of a thousand attempts.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from asyncjobs.tasks.services import Services
from asyncjobs.worker.job_processes.channel import Channel


class Line:
    """The messages of one attempt in a shared process; used like a `Channel`."""

    def __init__(self, number: int, channel: Channel, sending: asyncio.Lock) -> None:
        self.number = number
        self._channel = channel
        self._sending = sending
        self._received: asyncio.Queue[Sequence[Any] | None] = asyncio.Queue()

    async def send(self, *message: Any) -> None:
        """Send a message to the attempt; when its process is gone, it is lost without an error."""
        async with self._sending:
            await self._channel.send(self.number, *message)

    async def receive(self) -> Sequence[Any] | None:
        """Return the next message of the attempt; None when its process is gone."""
        return await self._received.get()

    def end_input(self) -> None:
        """Have `receive` return the messages that have come by now, and then None, even if the other end stays open."""
        self._channel.end_input()

    def put(self, message: Sequence[Any] | None) -> None:
        """Have `receive` return a message."""
        self._received.put_nowait(message)


class Shared:
    """A process that takes in attempts while it runs any, and ends with the last.

    Args:
        channel: The channel to the process, which may not exist yet.
        number: The number by which the forking process knows it.
        exit_code: Gets the exit code of the process; None: it is unknown.
        services: The scope of the task that listens to it.
        on_log: Called with each log record that the process sends.
    """

    def __init__(
        self,
        channel: Channel,
        number: int,
        exit_code: asyncio.Future[int | None],
        services: Services,
        on_log: Callable[[Any], object],
    ) -> None:
        self.number = number
        self.exit_code = exit_code
        self.joined = 0
        """Attempts that have ever run in the process."""
        self.over = False
        """Whether the process takes no more attempts."""
        self._channel = channel
        self._on_log = on_log
        self._sending = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._lines: dict[int, Line] = {}
        self._pid: int | None = None
        self._listening = services.start(self._listen(), name="shared process")

    def join(self) -> Line:
        """Add an attempt; return its line."""
        line = Line(next(self._numbers), self._channel, self._sending)
        self._lines[line.number] = line
        self.joined += 1
        if self._pid is not None:
            line.put(("pid", self._pid))
        return line

    def leave(self, line: Line) -> None:
        """Remove an attempt; after the last one the process ends."""
        del self._lines[line.number]
        if not self._lines:
            self.over = True
            # Closed after the task has ended: the socket's descriptor may be used again at once.
            self._listening.add_done_callback(lambda _: self._channel.close())
            self._listening.cancel()

    async def _listen(self) -> None:
        """Hand the messages of the process to the lines."""
        while (message := await self._channel.receive()) is not None:
            match message:
                case ["pid", int() as pid]:
                    self._pid = pid
                    self._tell_all(message)
                case ["log", record]:
                    self._on_log(record)
                case [int() as number, *words] if number in self._lines:
                    self._lines[number].put(words)
        self.over = True
        self._tell_all(None)

    def _tell_all(self, message: Sequence[Any] | None) -> None:
        for line in self._lines.values():
            line.put(message)
