"""A server for the dashboard alone."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from asyncjobs.exceptions import InvalidOption

GRACE = 1
"""Seconds that answers under way get when it ends."""


class _Server(uvicorn.Server):
    """A server that leaves signals to its program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(application: ASGIApp, *, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """Serve until cancelled.

    Args:
        application: The dashboard.
        host: The address to listen on.
        port: 0: any that is free.
        on_start: Called with the URL once it listens.

    Raises:
        InvalidOption: It cannot listen there.
    """
    config = uvicorn.Config(
        application,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE,
    )
    listening = _listen(host, port)
    on_start(_url_of(listening))
    server = _Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.should_exit = True
        await serving
        raise


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        why = str(error.strerror or error).partition(" (")[0]
        raise InvalidOption(
            f"--host {host} --port {port}: {why}: give another, or --port 0 for any that is free"
        ) from None


def _url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
