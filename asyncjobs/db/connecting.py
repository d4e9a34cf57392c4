"""Connections: opened, named, and given their settings.

A connection is ended with `terminate()`, never `close()`: on a link that swallows packets a graceful close waits for an
answer that does not come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping
from functools import partial

import asyncpg
from asyncpg import Connection

from asyncjobs.db import driver, poolers, postgres_types, url_parts
from asyncjobs.db.errors import misconfigured, translating
from asyncjobs.operating_system import forks

__all__ = ["CONNECT_TIMEOUT", "OURS", "PINNED_PLANS", "SEARCH_PATH", "Connection", "connect"]

CONNECT_TIMEOUT = 10.0
"""Seconds for the whole of connecting: address, TLS, authentication, first answer."""
_KEEPALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A silent link is probed after 30 s, which keeps firewalls from forgetting it, and is given up after a minute."""

SEARCH_PATH = "pg_catalog, pg_temp"
"""The search_path of all our sessions. Our statements name tables with their schema, but not operators and functions: one in
another schema of the path, whose types match exactly, would run instead, with the rights of this role.
"""

OURS = {"search_path": SEARCH_PATH, "default_transaction_isolation": "read committed"}
"""Settings of all our sessions. Above READ COMMITTED a claim would fail whenever another one came first."""

# A plan made while a queue was empty survives the backlog that follows: 1,260 jobs/s against 36,100. Pinned, the hot
# statements always take their index.
PINNED_PLANS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "on",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}


async def connect(
    url: str,
    *,
    name: str = "asyncjobs",
    settings: Mapping[str, str] | None = None,
    is_lent: bool = False,
    timeout: float = CONNECT_TIMEOUT,
    connection_class: type[asyncpg.Connection] = asyncpg.Connection,
) -> asyncpg.Connection:
    """Open one connection.

    Args:
        url: A PostgreSQL URL, as libpq takes it; several hosts are allowed.
        name: The `application_name` in `pg_stat_activity`.
        settings: Session settings beside `OURS`, set by one statement after connecting, since a pooler refuses unknown ones
            at the start. Behind a pooler in transaction mode they are set in each transaction.
        is_lent: Whether it is lent to a user's code, which relies on the role's own settings: then without `OURS`.
        timeout: Seconds for connecting.
        connection_class: The class of the connection.

    Raises:
        DatabaseUnavailable: The server refused, cannot be reached, or did not answer in time.
        DatabaseError: Refused for a reason that will not pass: wrong password, unknown database, a mistake in the URL.
    """
    with translating(url):
        pinned = {**({} if is_lent else OURS), **(settings or {})}
        async with asyncio.timeout(timeout):
            open_pooled = partial(_open_pooled, url, name, pinned, timeout, connection_class)
            if poolers.gives_transactions(url):
                return await open_pooled()
            connection = await _open(url, name, timeout, connection_class)
            if await _pin(connection, pinned, anyhow=poolers.known(url) is not None):
                return connection
            # There is a pooler: the pid that it gave at the start is not the server's.
            connection.terminate()
            if await poolers.find_out(url, open_pooled) is poolers.Pooler.transaction:
                return await open_pooled()
            connection = await _open(url, name, timeout, connection_class)
            await _pin(connection, pinned, anyhow=True)
            return connection


async def _open(
    url: str, name: str, timeout: float, connection_class: type[asyncpg.Connection], *, cached: int = 100
) -> asyncpg.Connection:
    try:
        connection = await asyncpg.connect(
            **driver.arguments(url, timeout),
            server_settings={"application_name": name[:63]},
            statement_cache_size=cached,
            connection_class=connection_class,
        )
    except UnicodeError as error:  # the resolver's, for a host name with an empty or too long part
        raise misconfigured(f"{url_parts.server_of(url)} can be no host ({error}); see database_url") from error
    except (ValueError, KeyError, OSError, asyncpg.PostgresError) as error:
        if problem := driver.problem(error, url):
            raise misconfigured(problem) from error
        raise
    descriptor = connection._transport.get_extra_info("socket").fileno()
    forks.keep_descriptor(descriptor)
    _keep_alive(descriptor)
    postgres_types.tell(connection)
    driver.tune(descriptor, url)
    return connection


async def _open_pooled(
    url: str, name: str, settings: Mapping[str, str], timeout: float, connection_class: type[asyncpg.Connection]
) -> asyncpg.Connection:
    connection = await _open(url, name, timeout, poolers.by_transaction(connection_class), cached=0)
    connection.settings = settings
    # To look up unknown types, asyncpg would set `jit` for the session, which is another client's next.
    connection._server_caps = connection._server_caps._replace(jit=False)
    return connection


async def _pin(connection: asyncpg.Connection, settings: Mapping[str, str], *, anyhow: bool) -> bool:
    """Set session settings if the session is the connection's own, or `anyhow`; return whether that was done.

    It uses the simple protocol, which leaves no prepared statement; its answer is only a number of rows.
    """
    pinned = (
        f"pg_catalog.set_config({poolers.literal(name)}, {poolers.literal(value)}, false)"
        for name, value in settings.items()
    )
    own = "" if anyhow else f" where pg_catalog.pg_backend_pid() = {connection.get_server_pid()}"
    try:
        return bool(await connection.execute(f"select {', '.join(pinned)}{own}") == "SELECT 1")
    except BaseException:
        connection.terminate()
        raise


def _keep_alive(descriptor: int) -> None:
    """Have the system probe a silent peer, with the options that it knows."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as peer:
        if peer.family not in (socket.AF_INET, socket.AF_INET6):
            return
        for option, value in _KEEPALIVE.items():
            level = socket.SOL_SOCKET if option.startswith("SO_") else socket.IPPROTO_TCP
            if (number := getattr(socket, option, None)) is not None:
                peer.setsockopt(level, number, value)
