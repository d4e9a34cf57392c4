"""One connection: how it is opened, named, pinned and ended.

A connection is ended with `terminate()`, never `close()`: on a link that swallows packets a graceful close waits for an
answer that does not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncpg
from asyncpg import Connection

from asyncjobs import forks
from asyncjobs.db import places
from asyncjobs.db.errors import translating
from asyncjobs.exceptions import DatabaseError

__all__ = ["CONNECT_TIMEOUT", "OURS", "PINNED_PLANS", "SEARCH_PATH", "Connection", "connect"]

CONNECT_TIMEOUT = 10.0
"""Seconds for the whole of connecting: address, TLS, authentication, first answer."""

SEARCH_PATH = "pg_catalog, pg_temp"
"""Of every session of ours. We name our tables by schema, but not operators and functions: one that somebody has made in
another schema of the path, and whose types match exactly, would be taken, and run as whoever asks.
"""

OURS = {"search_path": SEARCH_PATH, "default_transaction_isolation": "read committed"}
"""Settings of every session of ours. Above READ COMMITTED a claim would fail whenever another one came first."""

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

_SET = """
select pg_catalog.set_config(name, value, false)
from rows from (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) as s(name, value)
"""


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
        name: What `pg_stat_activity.application_name` shows.
        settings: Session settings beside `OURS`. All are set with one statement after connecting: a pooler refuses unknown
            start-up ones.
        is_lent: Whether a user's code is to have it, which relies on the role's own settings: then without `OURS`.
        timeout: Seconds until it is given up.
        connection_class: Of what is returned.

    Raises:
        DatabaseUnavailable: Refused, unreachable, or no answer in time.
        DatabaseError: Refused for a reason that will not pass: wrong password, unknown database.
    """
    with translating(url):
        try:
            async with asyncio.timeout(timeout):
                connection = await asyncpg.connect(
                    url,
                    timeout=timeout,
                    server_settings={"application_name": name[:63]},
                    statement_cache_size=100,
                    connection_class=connection_class,
                )
        except UnicodeError as error:  # what the resolver makes of a name with an empty or too long part
            raise DatabaseError(f"{places.server_of(url)} can be no host ({error}); see database_url") from error
        forks.keep_descriptor(connection._transport.get_extra_info("socket").fileno())
        pinned = {**({} if is_lent else OURS), **(settings or {})}
        if pinned:
            try:
                async with asyncio.timeout(timeout):
                    await connection.fetch(
                        _SET,
                        list(pinned),
                        list(pinned.values()),
                    )
            except BaseException:
                connection.terminate()
                raise
        return connection
