"""Poolers: whether a connection has a session of the server to itself, or is given another one for each transaction.

Behind PgBouncer in transaction mode our settings, LISTEN and prepared statements would stay on a session that other
applications use next. There each statement gets a transaction of its own, with settings that end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any

import asyncpg

from asyncjobs.exceptions import DatabaseUnavailable

ROUNDS = 3
"""Tries with two transactions at once: a pooler in transaction mode gives them different sessions."""
ANSWER_TIMEOUT = 2.0
"""Seconds for an answer meanwhile. A pool of one session lets the second transaction wait."""


class Pooler(Enum):
    """The kind of pooler between a client and the server."""

    session = "session"
    """None, or one that keeps a session for each connection."""
    transaction = "transaction"
    """One that gives each transaction a free session."""


_found: dict[str, Pooler] = {}
"""Poolers by URL, given or found out."""
_made: dict[type[asyncpg.Connection], type[asyncpg.Connection]] = {}
"""Classes of connections by the class that they combine with `TransactionConnection`."""


def assume(url: str, pooler: str) -> None:
    """Note the setting `pooler` for a database; with ``"auto"`` it is found out."""
    if pooler != "auto":
        _found[url] = Pooler(pooler)


def known(url: str) -> Pooler | None:
    """Return the pooler before a database; None: nothing is known of one."""
    return _found.get(url)


def gives_transactions(url: str) -> bool:
    """Whether a pooler in transaction mode is known to stand before a database."""
    return _found.get(url) is Pooler.transaction


def literal(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


class TransactionConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose statements are all in transactions, their own if there is none, with settings for these alone."""

    settings: Mapping[str, str] = {}
    is_by_transaction = True

    async def execute(self, query: str, *arguments: Any, timeout: float | None = None) -> str:
        """Execute; see `Connection.execute`."""
        if query == "BEGIN;" and self.settings:
            pinned = (
                f"pg_catalog.set_config({literal(name)}, {literal(value)}, true)"
                for name, value in self.settings.items()
            )
            query = f"BEGIN; select {', '.join(pinned)}"
        return str(await super().execute(query, *arguments, timeout=timeout))

    async def _execute(self, *arguments: Any, **named: Any) -> Any:
        # All of fetch, fetchval and fetchrow end here. Outside of a transaction, each message of one statement would be
        # given another session.
        if self.is_in_transaction():
            return await super()._execute(*arguments, **named)
        async with self.transaction():
            return await super()._execute(*arguments, **named)


def by_transaction(connection_class: type[asyncpg.Connection]) -> type[asyncpg.Connection]:
    """Return a class that is a `TransactionConnection` and of the given class."""
    if connection_class not in _made:
        name = f"Transaction{connection_class.__name__}"
        _made[connection_class] = type(name, (TransactionConnection, connection_class), {})
    return _made[connection_class]


def is_own(connection: object) -> bool:
    """Whether a connection has a session of the server to itself."""
    # Not by isinstance: the metaclass of asyncpg's connections answers yes for any of their classes.
    return not getattr(connection, "is_by_transaction", False)


async def find_out(url: str, open_one: Callable[[], Awaitable[asyncpg.Connection]]) -> Pooler:
    """Find out the kind of pooler, and remember it.

    Args:
        url: The database.
        open_one: Opens a `TransactionConnection`, which is safe behind both kinds.

    Raises:
        DatabaseUnavailable: There was no connection.
    """
    first = await open_one()
    try:
        try:
            second = await open_one()
        except DatabaseUnavailable:
            second = None  # there is no second connection: the first is asked again and again
        try:
            is_changing = await _changes(first, second)
        finally:
            if second is not None:
                second.terminate()
    finally:
        first.terminate()
    _found[url] = Pooler.transaction if is_changing else Pooler.session
    return _found[url]


async def _changes(first: asyncpg.Connection, second: asyncpg.Connection | None) -> bool:
    """Whether a connection is given another session while a second one is in a transaction."""
    pids = set()
    try:
        for _ in range(ROUNDS):
            pids.add(await _pid(first))
            if second is not None:
                async with second.transaction():
                    await _pid(second)
                    pids.add(await _pid(first))
    except TimeoutError:
        return True
    return len(pids) > 1


async def _pid(connection: asyncpg.Connection) -> int:
    async with asyncio.timeout(ANSWER_TIMEOUT):
        return int(await connection.fetchval("select pg_catalog.pg_backend_pid()"))
