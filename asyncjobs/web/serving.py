"""A server for the dashboard alone."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from asyncjobs.exceptions import InvalidOption


async def serve(application: ASGIApp, *, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM, or until cancelled.

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
        host=host,
        port=port,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    listening = _listen(host, port)
    on_start(url_of(listening))
    await uvicorn.Server(config).serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(128)
    except OSError as error:
        raise InvalidOption(
            f"--host {host} --port {port}: {error.strerror}: give another, or --port 0 for any that is free"
        ) from None
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL at which a socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
