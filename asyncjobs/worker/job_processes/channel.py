"""Channels between a worker and the processes of its jobs: messages over a socket pair, each with its length.

The worker's messages are pickled: its children run the same program. The children's messages are JSON, and their shape is
checked: a job may be taken over, run as another user, or pass its descriptors on, and to unpickle a message runs code.
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
"""Bytes of a message to the worker, at most; a longer one ends the channel."""


class Channel:
    """The worker's end, on its event loop."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        forks.keep_descriptor(end.fileno())
        self._end = end
        self._loop = asyncio.get_running_loop()

    async def send(self, *message: Any) -> None:
        """Send a message; when the other end is gone, it is lost without an error."""
        try:
            await self._loop.sock_sendall(self._end, _with_length(pickle.dumps(message)))
        except OSError:
            return  # the process has just ended; `receive` returns None

    async def receive(self) -> list[Any] | None:
        """Return the next message; None when the other end is gone or has sent anything else."""
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
        """Have `receive` return the messages that have come by now, and then None, even if the other end stays open."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """End the connection, and close this end."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)  # a process forked from this one may hold the socket open
        self._end.close()


class BlockingChannel:
    """The child's end, for any thread, with or without an event loop."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(True)
        forks.keep_descriptor(end.fileno())
        self._end = end
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end."""
        self._end.close()

    def send(self, *message: Any) -> None:
        """Send a message of JSON values.

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
