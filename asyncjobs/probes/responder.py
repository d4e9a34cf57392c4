"""The responder: HTTP for probes, GET and HEAD of a few paths, one request a connection, each bounded in size and time.

A worker has no web server among its dependencies, and this one runs in the thread that renews the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from http import HTTPStatus

from asyncjobs.operating_system import forks
from asyncjobs.probes.answers import TEXT, Answer, Answers, answer

logger = logging.getLogger("asyncjobs.probes")

MOST_CONNECTIONS = 20
"""Connections at once; for a further one that is closed whose request has been awaited longest: who sends none keeps no
probe out."""
LONGEST_HEAD = 8_192
"""Bytes of a request, its headers included."""
PATIENCE = 5.0
"""Seconds in which a request must have come; and in which its answer must be taken."""


class Responder:
    """Answers requests on a listening socket.

    Args:
        answers: What answers, by path.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._open: set[asyncio.StreamWriter] = set()
        self._silent: dict[asyncio.StreamWriter, None] = {}
        """Connections whose request has not come, the longest first."""

    async def serve(self, listening: socket.socket) -> None:
        """Serve until cancelled; the socket stays open, so that another may serve on it afterwards."""
        ours = listening.dup()
        forks.keep_descriptor(ours.fileno())
        server = await asyncio.start_server(self._connected, sock=ours, limit=LONGEST_HEAD)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()  # without a wait for open connections, which `serve_forever` has since Python 3.12
            for writer in self._open:
                writer.transport.abort()  # its task may get no turn any more

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self._silent[writer] = None
        try:
            if len(self._open) > MOST_CONNECTIONS:
                self._close_one()
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._converse(reader, writer)
        except Exception:
            logger.exception("a probe could not be answered")
        finally:
            self._open.discard(writer)
            self._silent.pop(writer, None)
            writer.close()

    def _close_one(self) -> None:
        longest = next(iter(self._silent))
        del self._silent[longest]
        longest.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(PATIENCE):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.LimitOverrunError:
                _write(writer, Answer(431, b"the request is too long\n"), with_body=True)
                await writer.drain()
                return
        self._silent.pop(writer, None)
        method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not target.startswith("/"):
            found = Answer(400, b"this is no request: GET /livez HTTP/1.1 is one\n")
        elif method not in ("GET", "HEAD"):
            found = Answer(405, b"GET and HEAD alone are answered\n")
        else:
            found = await answer(self._answers, target.partition("?")[0])
        _write(writer, found, with_body=method != "HEAD")
        async with asyncio.timeout(PATIENCE):
            await writer.drain()


def _write(writer: asyncio.StreamWriter, found: Answer, *, with_body: bool) -> None:
    status = HTTPStatus(found.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {found.content_type or TEXT}",
        f"Content-Length: {len(found.body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        "Connection: close",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (found.body if with_body else b""))
