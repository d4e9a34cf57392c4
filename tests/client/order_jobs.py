"""Jobs and helpers that the tests of batches, chains and `then` share."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import asyncpg

from asyncjobs import Batch, Job, current_attempt, current_job, job
from tests.support.asking import until

RAN: list[str] = []
"""What has run, in this order."""
BROKEN: set[str] = set()
"""What `note` fails for."""


def begin() -> None:
    RAN.clear()
    BROKEN.clear()


@job(kind="order.note")
async def note(text: str) -> str:
    RAN.append(text)
    if text in BROKEN:
        raise ValueError(f"{text} is broken")
    return text


@job(kind="order.glue")
async def glue(first: str, second: str = "", *, times: int = 1) -> str:
    RAN.append(f"{first}{second}" * times)
    return RAN[-1]


@job(kind="order.number")
async def number(value: int) -> int:
    RAN.append(str(value))
    return value + 1


class Named(Job, kind="order.Named"):
    name: str
    size: int = 1

    async def perform(self) -> str:
        RAN.append(self.name * self.size)
        return RAN[-1]


@job(kind="order.adds")
async def adds(*, count: int, name: str = "added") -> None:
    """Adds to its own batch."""
    batch = current_attempt().batch
    assert batch is not None
    for n in range(count):
        await batch.enqueue(note(f"{name} {n}"))


@job(kind="order.large")
async def large(size: int) -> str:
    return "x" * size


@job(kind="order.then")
async def then(text: str) -> str:
    RAN.append(text)
    current_job().then(note(f"after {text}"))
    if text in BROKEN:
        raise ValueError(f"{text} is broken")
    return text


def with_callbacks(description: str = "", prefix: str = "") -> Batch:
    """A batch whose callbacks say what they are."""
    return Batch(
        description,
        on_success=note(f"{prefix}success"),
        on_finish=note(f"{prefix}finish"),
        on_discard=note(f"{prefix}discard"),
    )


CALLED = ("success", "finish", "discard")
SETTLED = "select settled from asyncjobs.batch where id = $1"
NONE_LIVE = "select not exists (select from asyncjobs.job where state in (1, 2))"


async def settled(connection: asyncpg.Connection, batch: Batch) -> None:
    """Wait until a batch is over and nothing that it has enqueued is to run."""
    await until(connection, SETTLED, batch.id)
    await until(connection, NONE_LIVE)


def called(prefix: str = "") -> Counter[str]:
    """How often each callback has run."""
    return Counter(text.removeprefix(prefix) for text in RAN if text in {f"{prefix}{name}" for name in CALLED})


async def state(connection: asyncpg.Connection, job_id: UUID) -> int:
    return await connection.fetchval("select state from asyncjobs.job_status where id = $1", job_id)


async def final(connection: asyncpg.Connection, *jobs: Job) -> None:
    """Wait until jobs are final."""
    found = "select count(*) = $2 from asyncjobs.finished where id = any($1)"
    await until(connection, found, [job.id for job in jobs], len(jobs))
