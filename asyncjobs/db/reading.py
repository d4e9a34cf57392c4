"""What people look at: bounded readings for the command line, each under a short statement timeout."""

from __future__ import annotations

from typing import NamedTuple

from asyncpg import Connection

from asyncjobs.db import sql


class Server(NamedTuple):
    """The server as this session sees it."""

    version: str
    major: int
    encoding: str
    database: str
    role: str
    standby: bool
    read_only: bool
    synchronous_commit: str
    address: str | None
    """None on a Unix socket."""
    tls: bool
    tls_version: str | None
    clock: float
    """Seconds since 1970 by the server's clock."""


async def server(connection: Connection) -> Server:
    """Read what the server is."""
    return Server(*await connection.fetchrow(sql.read("read_server")))
