"""The link between a supervisor and a process of its own: a socket pair, of which only the supervisor holds the other end.

Over it the supervisor says how far to stop, the child says that it is ready and, when it stops, that it claims no more, and
waits for a word to go on. The link's end tells the child that the supervisor is gone, kill -9 included.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from uuid import UUID

from asyncjobs.operating_system import child_processes, forks

WORKER_LINK = "ASYNCJOBS_WORKER_LINK"
"""The variable with the descriptor of a child's link."""
READY, QUIET = b"r", b"q"
"""What a child says: that it claims jobs, and that it does no more."""
GO_ON = 3
"""What a supervisor says beside the two levels of stopping: what runs may be given back, nobody claims it."""
QUIET_LIMIT = 0.25
"""Seconds that a stopping child waits for its supervisor's word: another one may be frozen."""
_SIZE = struct.Struct("!I")


def introduce(
    link: socket.socket, *, worker: UUID, share: int | None, url: str, imports_here: bool, relay: int | None = None
) -> None:
    """Tell a child, as the first thing on its link, who it is and where the database is.

    Args:
        link: The parent's end.
        worker: Its id.
        share: Of the pools; None: all.
        url: Of the database.
        imports_here: Whether modules of the working directory are imported.
        relay: The descriptor of the child's end of the relay; None: nobody asks how it is.
    """
    said = {"worker": str(worker), "share": share, "url": url, "imports_here": imports_here, "relay": relay}
    text = json.dumps(said).encode()
    link.sendall(_SIZE.pack(len(text)) + text)


def _read(link: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := link.recv(size - len(found))):
        found += piece
    return found


class Link:
    """A child's end of the link to its supervisor; without a supervisor it does nothing."""

    def __init__(self) -> None:
        self.worker_id: UUID | None = None
        self.share: int | None = None
        self.url: str | None = None
        """Of the database; None: the settings say."""
        self.imports_here = not sys.flags.safe_path
        """Whether modules of the working directory are to be imported."""
        self.relay: socket.socket | None = None
        """Over which the supervisor asks how this process is; None: it does not."""
        self._socket: socket.socket | None = None
        self._may_go_on: Callable[[], object] = lambda: None
        # Taken out: what jobs start is no child of the supervisor.
        if (descriptor := os.environ.pop(WORKER_LINK, None)) is not None:
            self._socket = socket.socket(fileno=int(descriptor))
            forks.keep_descriptor(self._socket.fileno())
            child_processes.be_ended_before_parent()
            self._be_introduced(self._socket)

    def _be_introduced(self, link: socket.socket) -> None:
        [size] = _SIZE.unpack(_read(link, _SIZE.size))
        said = json.loads(_read(link, size))
        self.worker_id, self.share, self.url = UUID(said["worker"]), said["share"], said["url"]
        self.imports_here = said["imports_here"]
        if said["relay"] is not None:
            self.relay = socket.socket(fileno=said["relay"])
            forks.keep_descriptor(self.relay.fileno())

    @property
    def is_child(self) -> bool:
        """Whether this process has a supervisor."""
        return self.worker_id is not None

    def ready(self) -> None:
        """Tell the supervisor that jobs are claimed."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(READY)

    async def quiet(self) -> None:
        """Tell the supervisor that no jobs are claimed any more, and wait a moment until its other children claim none."""
        if self._socket is None:
            return
        loop, answered = asyncio.get_running_loop(), asyncio.Event()
        self._may_go_on = lambda: loop.call_soon_threadsafe(answered.set)
        with contextlib.suppress(OSError, TimeoutError):
            self._socket.send(QUIET)
            async with asyncio.timeout(QUIET_LIMIT):
                await answered.wait()
        self._may_go_on = lambda: None

    def listen(self, stop: Callable[[int, str], object]) -> None:
        """Call `stop` with each level that the supervisor asks for, and with 1 when it is gone; blocks until then."""
        if self._socket is None:
            return
        while True:
            try:
                said = self._socket.recv(1)
            except OSError:
                said = b""
            if not said:
                stop(1, "the supervisor is gone")
                self._may_go_on()
                return
            if said[0] == GO_ON:
                self._may_go_on()
            else:
                stop(said[0], "the supervisor stops")
