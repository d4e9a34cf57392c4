"""Poolers: whether a connection of ours is one session of the server, or is given another for each transaction.

Behind PgBouncer in transaction mode a setting, a LISTEN or a prepared statement of ours would stay on a session that other
applications use next. There each statement has a transaction of its own, whose settings end with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any

import asyncpg

from asyncjobs.exceptions import DatabaseUnavailable

ROUNDS = 3
"""Times that a transaction is held while another is begun: a pooler gives that another session."""
ANSWER_TIMEOUT = 2.0
"""Seconds for one question meanwhile. A pool of a single session has no second one, and lets it wait."""


class Pooler(Enum):
    """What stands between us and the server."""

    session = "session"
    """Nothing, or what keeps a session for each connection."""
    transaction = "transaction"
    """What gives each transaction the session that is free."""


_found: dict[str, Pooler] = {}
"""By URL: what was said or found out."""
_made: dict[type[asyncpg.Connection], type[asyncpg.Connection]] = {}
"""By connection class: the one that is a `TransactionConnection`, too."""


def assume(url: str, pooler: str) -> None:
    """Take the word of the setting `pooler` for what stands before a database; ``"auto"`` has it found out."""
    if pooler != "auto":
        _found[url] = Pooler(pooler)


def known(url: str) -> Pooler | None:
    """Return what stands before a database; None: nothing that has been noticed."""
    return _found.get(url)


def gives_transactions(url: str) -> bool:
    """Whether a pooler is known that gives each transaction another session."""
    return _found.get(url) is Pooler.transaction


def literal(text: str) -> str:
    """Return a setting's name or value as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


class TransactionConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose every statement is in a transaction, its own if there is none, with the settings of that alone."""

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
        # What fetch and its like come to. The parts of one statement would each be given a session of its own.
        if self.is_in_transaction():
            return await super()._execute(*arguments, **named)
        async with self.transaction():
            return await super()._execute(*arguments, **named)


def by_transaction(connection_class: type[asyncpg.Connection]) -> type[asyncpg.Connection]:
    """Return a connection class that is a `TransactionConnection`, too."""
    if connection_class not in _made:
        name = f"Transaction{connection_class.__name__}"
        _made[connection_class] = type(name, (TransactionConnection, connection_class), {})
    return _made[connection_class]


def is_own(connection: object) -> bool:
    """Whether a connection has a session of the server to itself."""
    # Not by isinstance: asyncpg's own says yes of every connection, for any class that is made from one.
    return not getattr(connection, "is_by_transaction", False)


async def find_out(url: str, open_one: Callable[[], Awaitable[asyncpg.Connection]]) -> Pooler:
    """Return what kind of pooler there is, and remember it.

    Args:
        url: Of the database.
        open_one: Opens a `TransactionConnection`, which does no harm behind either.

    Raises:
        DatabaseUnavailable: No connection.
    """
    first = await open_one()
    try:
        try:
            second = await open_one()
        except DatabaseUnavailable:
            second = None  # no place for another: the first is asked again and again
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
    """Whether a connection is given other sessions while a second one holds, in a transaction, what it may have had."""
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
