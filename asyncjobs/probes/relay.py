"""The relay: what a supervisor asks its processes, over a socket pair, to answer probes for all of them.

A question is a line with a number and a path. An answer is a line of JSON with that number, its status, type and length,
and then the body.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket

from asyncjobs.probes.answers import UNAVAILABLE, Answer, Answers, answer

LIMIT = 1 << 16
"""Bytes of a line."""
PATIENCE = 2.0
"""Seconds for an answer."""
NO_ANSWER = Answer(UNAVAILABLE, b"no answer\n")


async def answer_all(link: socket.socket, answers: Answers) -> None:
    """Answer questions on a process's end, until the other end is gone or this is cancelled."""
    reader, writer = await asyncio.open_unix_connection(sock=link.dup(), limit=LIMIT)
    try:
        while line := await reader.readline():
            number, _, path = line.decode().strip().partition(" ")
            found = await answer(answers, path)
            head = json.dumps([int(number), found.status, found.content_type, len(found.body)])
            writer.write(head.encode() + b"\n" + found.body)
            await writer.drain()
    except OSError:
        return
    finally:
        writer.close()


class Asking:
    """A supervisor's end of the relay of one process; made on its loop.

    Args:
        link: The supervisor's end of the socket pair; closed by this.
    """

    def __init__(self, link: socket.socket) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening = asyncio.get_running_loop().create_task(self._listen(link), name="asyncjobs relay")
        self._connected = asyncio.Event()

    async def ask(self, path: str) -> Answer:
        """Return the process's answer; 503 when it gives none in time, or is gone."""
        number = next(self._numbers)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            async with asyncio.timeout(PATIENCE):
                await self._connected.wait()
                if self._writer is not None and not self._listening.done():
                    self._writer.write(f"{number} {path}\n".encode())
                    return await answered
        except (OSError, TimeoutError):
            pass
        finally:
            del self._waiting[number]
        return NO_ANSWER

    async def _listen(self, link: socket.socket) -> None:
        """Take in answers, also those that nobody waits for any more."""
        reader, writer = await asyncio.open_unix_connection(sock=link, limit=LIMIT)
        self._writer = writer
        self._connected.set()
        try:
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                while head := await reader.readline():
                    number, status, content_type, size = json.loads(head)
                    found = Answer(status, await reader.readexactly(size), content_type)
                    if (waiting := self._waiting.get(number)) is not None and not waiting.done():
                        waiting.set_result(found)
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_result(NO_ANSWER)
            writer.close()

    def close(self) -> None:
        """Close this end."""
        self._listening.cancel()
