"""The driver's errors, translated once, by SQLSTATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, PermissionDenied, SchemaMismatch

_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "25",  # read-only or failed transaction: a standby, or a server that refuses writes for now
    "40",  # serialization failure, deadlock
    "53",  # out of disk, memory, connections
    "55",  # lock not available, object in use
    "57",  # admin shutdown, crash, cannot connect now, query cancelled
    "58",  # system error
}
_SCHEMA_MISSING = {"3F000", "42P01", "42883", "42703"}  # schema, table, function, column does not exist

# What asyncpg and the loop raise when a link breaks or a connection is refused; InterfaceError is "connection is closed".
LINK_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)

MIGRATE = "run `asyncjobs db migrate` with this version"


def translated(error: BaseException) -> DatabaseError:
    """Return the asyncjobs error that stands for a driver's `error`.

    The driver's message is kept to its primary line: DETAIL and CONTEXT can hold rows, and rows hold secrets.
    """
    if isinstance(error, DatabaseError):
        return error
    state = getattr(error, "sqlstate", None)
    message = str(getattr(error, "message", None) or error or type(error).__name__)
    if state is None:
        return DatabaseUnavailable(f"no answer from the database: {message}")
    if state in _SCHEMA_MISSING:
        return SchemaMismatch(
            f"the schema asyncjobs is missing or older than this version needs ({message}); {MIGRATE}"
        )
    if state == "42501":
        return PermissionDenied(f"{message}; `asyncjobs db sql --roles` prints the grants a role needs")
    if state[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseUnavailable(message)
    return DatabaseError(f"{message} (SQLSTATE {state})")


@contextmanager
def translating() -> Iterator[None]:
    """Turn driver and link errors raised inside into `DatabaseError`s, with the cause attached."""
    try:
        yield
    except (asyncpg.PostgresError, *LINK_ERRORS) as error:
        raise translated(error) from error
