"""A connection that is lent to a user's code: used inside the block, refused after it, and clean when it comes back."""

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
"""Seconds that cleaning a session may take; then it is ended."""

NOT_YOURS = (
    "the connection of an isolated step is ended by nobody but the step: raise an error to roll back what it did"
)

# What DISCARD ALL does, but for prepared statements: asyncpg would not know that its own are gone. One round trip.
UNLOCK = "select pg_catalog.pg_advisory_unlock_all()"
RESET = f"""
close all; set session authorization default; reset all; {UNLOCK}; unlisten *; discard sequences; discard temp
"""


class LentConnection(PoolConnectionProxy):  # type: ignore[misc]
    """An asyncpg connection as a user's code sees it. It cannot be closed, and is of no use once it has been taken back.

    asyncpg's own stand-in for a connection of a pool, which asyncpg and others know as a connection.
    """

    __slots__ = ("is_changed",)

    def __init__(self, connection: Connection) -> None:
        super().__init__(None, connection)
        self.is_changed = False
        """Whether something was done to the connection itself, which no statement takes back."""

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
    "add_listener", "add_log_listener", "add_query_logger", "add_termination_listener", "reset_type_codec",
    "set_builtin_type_codec", "set_type_codec",
):  # fmt: skip
    setattr(LentConnection, _name, _noting(_name))


@contextlib.contextmanager
def lent(connection: Connection) -> Iterator[LentConnection]:
    """Lend a connection for the length of a block, or until it is taken back; then its session is to be cleaned.

    An error that is no `Exception` ends it, and so does a change that no statement takes back.
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
    """Have the handle refuse from here on, and what was made of it, its transactions and prepared statements.

    Args:
        handle: Of which nothing comes to pass if it was taken back before.
        connection: What it stands for.
        kept: What was made of the connection itself, and is of use still.
    """
    if handle._con is None:
        return
    handle._detach()
    if not connection.is_closed():
        connection._on_release()
        for resource in kept:
            resource._con_release_ctr = connection._pool_release_ctr


async def clean(connection: Connection) -> None:
    """Have a session be as it was opened; end it if anything is going on there still, or if it does not answer.

    One that a pooler lends by the transaction is gone by then, and the next is nobody's to clean.
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
