"""Messages between a worker and the processes that run jobs apart, over a socket pair, each with its length.

What the worker says is pickled: its children are its own program. What they say is JSON, and its shape is looked at: a job
may be taken over, run as another user, or hand its descriptors on, and what can be unpickled runs code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

from asyncjobs.operating_system import forks

_LENGTH = struct.Struct("!Q")
MOST_HEARD = 64 << 20
"""Bytes of a message that the worker takes in; a child that says more has nothing more to say."""


class Channel:
    """The worker's end, on its event loop."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        forks.keep_descriptor(end.fileno())
        self._end = end
        self._loop = asyncio.get_running_loop()

    async def send(self, *message: Any) -> None:
        """Send a message; one that nobody takes any more is lost without an error."""
        try:
            await self._loop.sock_sendall(self._end, _with_length(pickle.dumps(message)))
        except OSError:
            return  # the process has just ended, which `receive` tells

    async def receive(self) -> list[Any] | None:
        """Return the next message; None when the other end is gone, or has said what is no message."""
        head = await self._read(_LENGTH.size)
        size = 0 if head is None else _LENGTH.unpack(head)[0]
        body = await self._read(size) if 0 < size <= MOST_HEARD else None
        try:
            message = None if body is None else json.loads(body)
        except (ValueError, RecursionError):
            return None
        return message if isinstance(message, list) and message else None

    async def _read(self, size: int) -> bytes | None:
        found = bytearray()
        while len(found) < size:
            try:
                piece = await self._loop.sock_recv(self._end, min(size - len(found), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                return None
            found += piece
        return bytes(found)

    def end_input(self) -> None:
        """Have `receive` return what has come by now, and then None, whoever holds the other end open."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """End the talk, and close this end."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)  # which a process that was forked from this one cannot keep open
        self._end.close()


class BlockingChannel:
    """The other end, for any thread of a process without a loop, or beside one."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        forks.keep_descriptor(end.fileno())
        self._end = end
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return its descriptor, to be selected on."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def send(self, *message: Any) -> None:
        """Send a message of what JSON can hold.

        Raises:
            OSError: The other end is gone.
        """
        with self._sending:
            self._end.sendall(packed(message))

    def receive(self) -> tuple[Any, ...] | None:
        """Return the next message; None when the other end is gone."""
        head = self._read(_LENGTH.size)
        body = None if head is None else self._read(_LENGTH.unpack(head)[0])
        return None if body is None else pickle.loads(body)

    def _read(self, size: int) -> bytes | None:
        found = bytearray()
        while len(found) < size:
            try:
                piece = self._end.recv(min(size - len(found), 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                return None
            found += piece
        return bytes(found)


def packed(message: Sequence[Any]) -> bytes:
    """Return a message to the worker as bytes."""
    return _with_length(json.dumps(message).encode())


def _with_length(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body
