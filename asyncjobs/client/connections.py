"""Callers' connections: enqueueing and emitting inside the transaction that they are in.

SQLAlchemy's `driver_connection` is never used: its asyncpg dialect begins a transaction lazily, so a raw statement before
the session's first one runs outside of it, and its job survives the rollback. SQLAlchemy's own `execute` begins first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from asyncjobs.db import batches
from asyncjobs.db.batches import NewBatch
from asyncjobs.db.errors import ENQUEUER, translated
from asyncjobs.db.rows import NewJob, Stored
from asyncjobs.exceptions import InvalidConnection

_ACCEPTED = (
    "an asyncpg connection, an SQLAlchemy AsyncSession or AsyncConnection (on asyncpg or psycopg), "
    "or a psycopg AsyncConnection"
)
_ELSEWHERE = "connection= belongs to another event loop: give a connection opened on this one"


class _Call:
    """A call of one of our SQL functions, for every driver.

    Args:
        function: The function's name.
        types: The types of its parameters by name, in their order.
    """

    def __init__(self, function: str, types: Mapping[str, str]) -> None:
        # Cast to text first: asyncpg would take a parameter that is cast to a time for a datetime, and refuse a text.
        self.numbered = self._sql(function, [f"${n}::text::{type_}" for n, type_ in enumerate(types.values(), 1)])
        self.named = self._sql(function, [f"cast(cast(:{name} as text) as {type_})" for name, type_ in types.items()])
        self.percent = self._sql(function, [f"%({name})s::text::{type_}" for name, type_ in types.items()])

    @staticmethod
    def _sql(function: str, arguments: list[str]) -> str:
        return f"select asyncjobs.{function}({', '.join(arguments)})"


_ROW = {
    "id": "uuid",
    "kind": "text",
    "queue": "text",
    "priority": "integer",
    "run_at": "timestamptz",
    "delay": "float8",
    "args": "text",
    "expires_in": "float8",
}
_ENQUEUE, _ENQUEUE_AGAIN = _Call("enqueue_once", _ROW), _Call("enqueue_again", _ROW)
_ORDERED = {**_ROW, "order": "text"}
_ENQUEUE_ORDERED = _Call("enqueue_ordered", _ORDERED)
_ENQUEUE_GIVEN = _Call("enqueue_given", {"given": "text", "whole": "boolean"})
_ENQUEUE_WITHIN = _Call("enqueue_within", {"job": "uuid", "fence": "bigint", "given": "text"})
_BEGIN_BATCH = _Call("begin_batch", {"given": "text"})
_SETTLE_BATCHES = _Call("settle_batches", {"ids": "uuid[]"})
_DEPTH = _Call("depth", {"queue": "text", "most": "integer"})
_PLACELESS = _Call("placeless", {"given": "text"})
_CHECK_SEEN = _Call("check_seen", {"id": "uuid"})
_EMIT = _Call("emit", {"name": "text", "key": "text", "payload": "json"})


async def enqueue_on(connection: Any, row: NewJob, *, again: bool = False) -> bool:
    """Insert a row in the transaction that `connection` is in; return whether one was made.

    Args:
        connection: The caller's connection.
        row: The row; its id is new unless `again`.
        again: The job may have been enqueued before, and have ended, which can be seen in READ COMMITTED only.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    values = {name: getattr(row, name) for name in _ROW}
    values["run_at"] = None if row.run_at is None else row.run_at.isoformat()
    return bool(await _call(connection, _ENQUEUE_AGAIN if again else _ENQUEUE, values))


async def enqueue_ordered_on(connection: Any, row: NewJob, *, again: bool = False) -> Stored:
    """Insert a job with an order or labels, in the transaction that `connection` is in; return how it was stored.

    Args:
        connection: The caller's connection.
        row: The row.
        again: See `enqueue_on`.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    if again:
        await _call(connection, _CHECK_SEEN, {"id": row.id})
    values = {name: getattr(row, name) for name in _ORDERED}
    values["run_at"] = None if row.run_at is None else row.run_at.isoformat()
    job_id, _, disposition = str(await _call(connection, _ENQUEUE_ORDERED, values)).partition(" ")
    return Stored(UUID(job_id), disposition)


async def enqueue_given_on(connection: Any, rows: Sequence[NewJob], *, whole: bool = False) -> list[Stored]:
    """Insert jobs in the transaction that `connection` is in; return how each was stored. `whole`: all or none.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    made = await _call(connection, _ENQUEUE_GIVEN, {"given": batches.given(rows), "whole": whole})
    return batches.stored(str(made))


async def enqueue_within_on(connection: Any, job_id: UUID, fence: int, rows: Sequence[NewJob]) -> str | None:
    """Add jobs to the batch of a running job, in the transaction that `connection` is in; see `batches.enqueue_within`.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    given = {"job": job_id, "fence": fence, "given": batches.given(rows)}
    made: str | None = await _call(connection, _ENQUEUE_WITHIN, given)
    return made


async def begin_batch_on(connection: Any, new: Sequence[NewBatch]) -> bool:
    """Store a batch and its parts in the transaction that `connection` is in; return False when they exist already.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    return bool(await _call(connection, _BEGIN_BATCH, {"given": batches.text_of(new)}))


async def settle_batches_on(connection: Any, ids: Sequence[UUID]) -> None:
    """Enqueue the callbacks of batches that are over, in the transaction that `connection` is in.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    await _call(connection, _SETTLE_BATCHES, {"ids": "{" + ",".join(map(str, ids)) + "}"})


async def depth_on(connection: Any, queue: str, most: int) -> int:
    """Return the number of ready jobs in a queue, as the transaction that `connection` is in sees it.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    return int(await _call(connection, _DEPTH, {"queue": queue, "most": most}))


async def placeless_on(connection: Any, given: str) -> str:
    """Call `placeless` in the transaction that `connection` is in; see `jobs.read_placeless`.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    return str(await _call(connection, _PLACELESS, {"given": given}))


async def emit_on(connection: Any, name: str, key: str, payload: str | None) -> int:
    """Emit an event in the transaction that `connection` is in; return how many waiting jobs it wakes.

    Raises:
        InvalidConnection, DatabaseError: See `_call`.
    """
    return int(await _call(connection, _EMIT, {"name": name, "key": key, "payload": payload}))


async def _call(connection: Any, call: _Call, given: Mapping[str, Any]) -> Any:
    """Call a function in the transaction that `connection` is in; return its result.

    Raises:
        InvalidConnection: The connection is not of an accepted type, closed, of another loop, or in a failed or read-only
            transaction; nothing was written.
        DatabaseError: The server refused; the caller's transaction has failed.
    """
    values = {name: None if value is None else str(value) for name, value in given.items()}
    # Base classes count: the sessions of SQLModel, and an application's own, derive from SQLAlchemy's.
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    try:
        if isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy):
            return await _on_asyncpg(connection, call, values)
        if "sqlalchemy" in packages:
            return await _on_sqlalchemy(connection, call, values)
        if "psycopg" in packages:
            return await _on_psycopg(connection, call, values)
    except (InvalidConnection, asyncio.CancelledError):
        raise
    except Exception as error:
        raise _refusal(error) from error
    raise InvalidConnection(f"connection= got {type(connection).__qualname__}: give {_ACCEPTED}")


async def _on_asyncpg(connection: Any, call: _Call, values: dict[str, str | None]) -> Any:
    if connection.is_closed():
        raise InvalidConnection("connection= is closed: give an open connection")
    if (loop := getattr(connection, "_loop", None)) is not None and loop is not asyncio.get_running_loop():
        raise InvalidConnection(_ELSEWHERE)
    return await connection.fetchval(call.numbered, *values.values())


async def _on_sqlalchemy(connection: Any, call: _Call, values: dict[str, str | None]) -> Any:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session

    if not isinstance(connection, AsyncConnection | AsyncSession | async_scoped_session):
        raise InvalidConnection(f"connection= got SQLAlchemy's {type(connection).__qualname__}: give {_ACCEPTED}")
    if _is_of_another_loop(connection):
        raise InvalidConnection(_ELSEWHERE)
    statement = text(call.named)
    if isinstance(connection, AsyncConnection):
        return (await connection.execute(statement, values)).scalar_one()
    session = connection.registry() if isinstance(connection, async_scoped_session) else connection
    # SQLAlchemy's own `execute`: a derived session's may warn against its use (SQLModel's), or do more.
    return await session.run_sync(lambda own: Session.execute(own, statement, values).scalar_one())


def _is_of_another_loop(connection: Any) -> bool:
    """Whether the asyncpg connection of an SQLAlchemy session or connection belongs to another event loop.

    Checked before any use: two threads in one asyncpg connection end the process by a segmentation fault.
    """
    session = getattr(connection, "sync_session", None)
    if session is not None:
        # Not session.connection(): that would open one for a session, or a savepoint, that has executed nothing yet.
        held = getattr(session.get_transaction(), "_connections", None) or {}
        working = [entry[0] for entry in held.values()]
    else:
        working = [getattr(connection, "sync_connection", None)]
    loops = {
        getattr(each.connection.driver_connection, "_loop", None)
        for each in working
        if each is not None and not each.closed
    }
    return bool(loops - {None, asyncio.get_running_loop()})


async def _on_psycopg(connection: Any, call: _Call, values: dict[str, str | None]) -> Any:
    from psycopg import AsyncConnection, AsyncCursor
    from psycopg.rows import tuple_row

    if not isinstance(connection, AsyncConnection):
        raise InvalidConnection(f"connection= got psycopg's {type(connection).__qualname__}: give an AsyncConnection")
    # A cursor of our own: the connection's may have another row factory, and another style of parameters.
    async with AsyncCursor(connection, row_factory=tuple_row) as cursor:
        await cursor.execute(call.percent, values)
        row = await cursor.fetchone()
    return None if row is None else row[0]


def _refusal(error: Exception) -> Exception:
    """Return the error to raise for a connection's error: by SQLSTATE if the driver gives one."""
    cause: Any = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or getattr(getattr(cause, "__cause__", None), "sqlstate", None)
    if state == "25P02":
        return InvalidConnection("connection= is in a failed transaction: roll it back first")
    if state == "25006":
        return InvalidConnection("connection= is read-only: give one that may write")
    if state is not None:
        return translated(cause if getattr(cause, "sqlstate", None) else cause.__cause__, role=ENQUEUER)
    return InvalidConnection(f"connection= cannot be used: {type(cause).__name__}: {cause}")
