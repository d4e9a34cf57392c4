"""Helpers of the database tests: rows made by hand, and statements as the worker sends them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from asyncjobs.db import claims, inserts, workers
from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.db.rows import Finish, NewJob, Range, State
from asyncjobs.definitions.ids import new_id
from asyncjobs.records.claimed import Claimed

LOW, HIGH, ALL = -32_768, 32_767, -(2**63)


async def pinned(url: str) -> asyncpg.Connection:
    """A connection with the settings of a worker's."""
    return await connect(url, settings=PINNED_PLANS)


async def terminated(connection: asyncpg.Connection) -> None:
    """End a connection, and be there when the loop does it."""
    connection.terminate()
    await asyncio.sleep(0)


async def make_worker(connection: asyncpg.Connection, lease: float = 30.0) -> UUID:
    worker = uuid4()
    await workers.register(connection, worker, lease=lease, about="{}")
    return worker


def new_job(**given: Any) -> NewJob:
    return NewJob(**{"id": new_id(), "kind": "k", "queue": "q", "priority": 0, "args": "{}", **given})


async def put(connection: asyncpg.Connection, count: int = 1, **given: Any) -> list[UUID]:
    """Enqueue so many jobs; their ids in the order of their seq."""
    made = [new_job(**given) for _ in range(count)]
    await inserts.enqueue_many(connection, made)
    rows = await connection.fetch("select id from asyncjobs.job where id = any($1) order by seq", [j.id for j in made])
    return [row["id"] for row in rows]


def ranges(*queues: str, pool: int = 1) -> list[Range]:
    return [Range(pool, queue, LOW, HIGH, ALL) for queue in queues]


async def claim(
    connection: asyncpg.Connection,
    worker: UUID,
    free: int = 10,
    *queues: str,
    kinds: Sequence[str] = ("k",),
    **more: Sequence[str],
) -> list[Claimed]:
    wanted = ranges(*(queues or ("q",)))
    return await claims.claim(connection, free=[free], ranges=wanted, kinds=kinds, worker=worker, **more)


def succeeded(claimed: Claimed, **other: Any) -> Finish:
    end = Finish(claimed.id, claimed.fence, State.succeeded, None, None, None, 7)
    return end._replace(**other)


async def states(connection: asyncpg.Connection) -> dict[UUID, int]:
    rows = await connection.fetch(
        "select id, state from asyncjobs.job union all select id, state from asyncjobs.finished"
    )
    return {row["id"]: row["state"] for row in rows}
