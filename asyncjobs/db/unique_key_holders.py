"""Holders of unique keys: the open transaction that has a key for which an enqueue has waited in vain.

Its row cannot be seen before its commit, and the transaction that has waited has failed. So one connection of our own tries
to enqueue with the key once more, and rolls back; while it waits, another asks the server which session it waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

import asyncpg

from asyncjobs.checks.foreign_texts import brief, harmless
from asyncjobs.db import inserts, sql
from asyncjobs.db.connecting import Connection, connect
from asyncjobs.db.errors import LINK_ERRORS, is_locked
from asyncjobs.db.rows import NewJob
from asyncjobs.definitions.ids import new_id
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable
from asyncjobs.values import codec

TIMEOUT = 5.0
"""Seconds for finding the holder, connecting included: the caller has waited already."""
WAIT = 1.0
"""Seconds of waiting for one key, kept by the server: so it ends even if this process does not end it."""
LOOK = 0.01
"""Seconds between two questions for the holder."""
MOST_NAMED = 3
"""Sessions that are named, at most: several can have locked one row."""


class _Held(NamedTuple):
    what: str
    by: str


@contextlib.asynccontextmanager
async def naming_holders(url: str, rows: Sequence[NewJob]) -> AsyncIterator[None]:
    """Name the holder in the error when the enqueueing of `rows` in the block waits in vain for a unique key."""
    try:
        yield
    except (DatabaseError, asyncpg.LockNotAvailableError) as error:
        locked = not isinstance(error, DatabaseError) or is_locked(error)
        keys = _keys(rows) if locked else {}
        if not keys:
            raise
        found = DatabaseUnavailable(await _sentence(url, keys))
        found.refused = True
        raise found from (error.__cause__ or error)


def _keys(rows: Sequence[NewJob]) -> dict[str, NewJob]:
    """Return a row for each unique key, with that key alone, in the order in which keys are locked."""
    found: dict[str, NewJob] = {}
    for row in rows:
        if row.order is not None and (unique := codec.loads(row.order).get("unique")) is not None:
            found[unique["key"]] = row._replace(id=new_id(), order=codec.dumps({"unique": unique}))
    return dict(sorted(found.items()))


async def _sentence(url: str, keys: dict[str, NewJob]) -> str:
    what = _spelled(next(iter(keys))) if len(keys) == 1 else f"one of {len(keys)} unique keys"
    try:
        async with asyncio.timeout(TIMEOUT):
            held = await _find(url, keys)
    except (DatabaseError, asyncpg.PostgresError, *LINK_ERRORS):
        held = _Held(what, "a transaction that cannot be named, as no connection was to be had; see pg_stat_activity")
    if held is None:
        return (
            f"nothing was enqueued: {what} was held by another transaction for longer than lock_timeout, and is free by "
            "now; enqueue again"
        )
    return (
        f"nothing was enqueued: {held.what} was not to be had within lock_timeout, held by {held.by}. Have that transaction "
        "committed or rolled back and enqueue again, or raise lock_timeout"
    )


def _spelled(key: str) -> str:
    return f"the unique key '{brief(harmless(key))}'"


async def _find(url: str, keys: dict[str, NewJob]) -> _Held | None:
    """Try one key after the other; return the first that another transaction holds."""
    asking = await connect(url, name="asyncjobs unique keys")
    try:
        looking = await connect(url, name="asyncjobs unique keys")
        try:
            for key, row in keys.items():
                if blockers := await _blockers(asking, looking, row):
                    table = blockers[0]["whole"]
                    what = _spelled(key) if table is None else f"the table {table}"
                    return _Held(what, "; ".join(map(_named, blockers)))
            return None
        finally:
            looking.terminate()
    finally:
        asking.terminate()


async def _blockers(asking: Connection, looking: Connection, row: NewJob) -> list[asyncpg.Record]:
    """Enqueue a row and roll back; return the sessions that hold it up, none if it is not held up."""
    transaction = asking.transaction()
    await transaction.start()
    try:
        await asking.fetch(sql.read("set_timeouts"), f"{WAIT:.0f}s")
        pid = await asking.fetchval("select pg_catalog.pg_backend_pid()")
        enqueueing = asyncio.ensure_future(inserts.enqueue_ordered(asking, [row]))
        try:
            while not enqueueing.done():
                await asyncio.wait([enqueueing], timeout=LOOK)
                if not enqueueing.done():
                    found: list[asyncpg.Record] = await looking.fetch(sql.read("read_blockers"), pid, MOST_NAMED)
                    if found:
                        return found
            enqueueing.result()
        finally:
            enqueueing.cancel()
            await asyncio.wait([enqueueing])
        return []
    finally:
        await transaction.rollback()  # also waits until the cancelled statement has ended, and frees the key


def _named(row: asyncpg.Record) -> str:
    if row["pid"] is None:
        return "a prepared transaction (see pg_prepared_xacts)"
    parts = [
        f"application {brief(harmless(row['application']))}" if row["application"] else "no application name",
        f"user {brief(harmless(row['login'] or 'unknown'))}",
        row["state"] or "in a state that this login may not see",
    ]
    if row["since"] is not None:
        parts.append(f"its transaction open since {row['since']:%Y-%m-%dT%H:%M:%SZ}")
    return f"pid {row['pid']} ({', '.join(parts)})"
