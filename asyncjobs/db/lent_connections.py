"""Lending of connections to a user's code: usable inside a block, refused after it, and cleaned when given back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import asyncpg
from asyncpg.connresource import ConnectionResource
from asyncpg.pool import PoolConnectionProxy

from asyncjobs.db import poolers
from asyncjobs.db.connecting import Connection
from asyncjobs.exceptions import InvalidStep

RESET_TIMEOUT = 5.0
"""Seconds for cleaning a session; after that it is ended."""

NOT_YOURS = (
    "the connection of an isolated step is ended by nobody but the step: raise an error to roll back what it did"
)

# Like DISCARD ALL, in one round trip, except for prepared statements: asyncpg would not know that its own are gone.
UNLOCK = "select pg_catalog.pg_advisory_unlock_all()"
RESET = f"""
close all; set session authorization default; reset all; {UNLOCK}; unlisten *; discard sequences; discard temp
"""


class LentConnection(PoolConnectionProxy):  # type: ignore[misc]
    """An asyncpg connection as a user's code sees it. It cannot be closed, and refuses all calls once it was taken back.

    It derives from asyncpg's proxy for connections of a pool, which asyncpg and other libraries accept as a connection.
    """

    __slots__ = ("is_changed",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(None, connection)
        self.is_changed = False
        """Whether the connection object was changed, which no statement can undo."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ARG002 - asyncpg's signature
        """Refuse to; see `Connection.close`."""
        raise InvalidStep(NOT_YOURS)

    def terminate(self) -> None:
        """Refuse to; see `Connection.terminate`."""
        raise InvalidStep(NOT_YOURS)


def _noting(name: str) -> Any:
    method = getattr(PoolConnectionProxy, name)

    def noted(self: LentConnection, *arguments: Any, **named: Any) -> Any:
        self.is_changed = True
        return method(self, *arguments, **named)

    return noted


for _name in (
    "add_listener",
    "add_log_listener",
    "add_query_logger",
    "add_termination_listener",
    "reset_type_codec",
    "set_builtin_type_codec",
    "set_type_codec",
):
    setattr(LentConnection, _name, _noting(_name))


@contextlib.contextmanager
def lent(connection: Connection) -> Iterator[LentConnection]:
    """Lend a connection for the length of a block, or until it is taken back; the caller cleans its session then.

    The connection is ended after an error that is no `Exception`, and after a change that no statement can undo.
    """
    handle = LentConnection(connection)
    try:
        yield handle
    except BaseException as error:
        handle.is_changed = handle.is_changed or not isinstance(error, Exception)
        raise
    finally:
        take_back(handle, connection)
        if handle.is_changed:
            connection.terminate()


def take_back(handle: LentConnection, connection: Connection, *kept: ConnectionResource) -> None:
    """Have a handle refuse all calls from now on, and with it its transactions and prepared statements.

    Args:
        handle: The handle; nothing happens if it was taken back before.
        connection: The connection behind it.
        kept: Resources made of the connection itself, which stay usable.
    """
    if handle._con is None:
        return
    handle._detach()
    if not connection.is_closed():
        connection._on_release()
        for resource in kept:
            resource._con_release_ctr = connection._pool_release_ctr


async def clean(connection: Connection) -> None:
    """Reset a session to its state when it was opened; end it if a statement is under way, or if it does not answer.

    Behind a pooler in transaction mode nothing is done: the session is another client's already.
    """
    if not poolers.is_own(connection):
        return
    try:
        if not connection.is_closed() and not connection.is_in_transaction():
            await connection.execute(RESET, timeout=RESET_TIMEOUT)
            return
    except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        pass
    connection.terminate()
