"""Jobs and helpers that the tests of the client share."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from asyncjobs import Job, job


@job(kind="client.double", queue="numbers")
async def double(number: int) -> int:
    return number * 2


@job(kind="client.fail")
async def fail(message: str) -> None:
    raise ValueError(message)


class Note(Job, kind="client.Note"):
    text: str = ""

    async def perform(self) -> str:
        return self.text


class Gate:
    """A place where a job waits until the test lets it go."""

    all: dict[str, Gate] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()
        Gate.all[name] = self


@job(kind="client.wait_at")
async def wait_at(gate: str) -> str:
    Gate.all[gate].arrived.set()
    await Gate.all[gate].open.wait()
    return gate


async def live(connection: asyncpg.Connection) -> int:
    """How many live rows there are."""
    return await connection.fetchval("select count(*) from asyncjobs.job")


async def rows(connection: asyncpg.Connection) -> int:
    """How many rows there are, finished ones included."""
    return await live(connection) + await connection.fetchval("select count(*) from asyncjobs.finished")


async def row(connection: asyncpg.Connection, job: Job[Any]) -> asyncpg.Record | None:
    return await connection.fetchrow("select * from asyncjobs.job where id = $1", job.id)


async def enqueued_and_rolled_back(connection: asyncpg.Connection, job: Job[Any]) -> None:
    """Enqueue in a transaction that is then undone."""
    transaction = connection.transaction()
    await transaction.start()
    await job.enqueue(connection=connection)
    await transaction.rollback()
