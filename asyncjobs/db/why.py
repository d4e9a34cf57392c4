"""Statements on why a job waits: bounded ones, to be run under a short statement timeout."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from asyncjobs.db import sql
from asyncjobs.values.plain_json import shown_object

COUNTED = 1_000
"""Jobs ahead of another that are counted, at most."""
LOOKED_AT = 10_000
"""Jobs ahead of another that are read for that, at most: jobs of unknown kinds do not count."""


class Waiting(NamedTuple):
    """One job's own row, and its place in the queue."""

    id: UUID
    state: int
    kind: str
    queue: str
    attempt: int
    crashes: int
    error: str | None
    """The error of its last failed attempt, one JSON line."""
    reason: str | None
    cancel_reason: str | None
    run_at: datetime | None
    due_in: float | None
    """Seconds until `run_at`; negative once it has passed. None for a final job, and for a wait without a time limit."""
    expired: bool
    """Whether it was not started within `expires_in`."""
    started_at: datetime | None
    finished_at: datetime | None
    since: float | None
    """Seconds since its attempt began; for a final job, since it ended."""
    worker: UUID | None
    ahead: int
    """Ready jobs of its queue that come before it, and are of a kind that its workers know; at most `COUNTED`."""
    step: str | None = None
    """The sleep or wait that it is in."""
    event: str | None = None
    """The event of that wait."""
    key: str | None = None
    counts: str | None = None
    """JSON of its counters, while it is live."""
    apart: bool = False
    """Whether it runs in a process of its own, or of suspects."""
    together: int | None = None
    """Suspects that share a process with it, at most, itself included; None: any number."""
    after: UUID | None = None
    """The unfinished job that it waits for; in a chain, the first that is not over."""
    anyhow: bool | None = None
    """Whether it starts after that job however that ends: it is the newer one of a unique key."""
    before_kind: str | None = None
    before_state: int | None = None
    """The state of that job; None: its row is gone."""
    links: int | None = None
    """The distance to that job in the chain; 1: it is the job before."""
    pause: str | None = None
    """JSON of the pause of its queue or its kind."""


class AtLimit(NamedTuple):
    """The limit at which a job waits."""

    key: str
    most: int | None
    """Jobs that may run at once; None: any number, it is a rate."""
    said_by: str
    """The source of that number: a key of `limiting.BY`."""
    is_known: bool
    """Whether any worker has written yet what it allows."""
    held: int
    next_start: float | None
    """Seconds until the next start of a rate; None: it is no rate, or a start is due."""
    ahead: int
    """Jobs that wait there before it; at most 1,000 are counted."""
    holders: list[UUID]
    """The first jobs that hold a place."""


class Serving(NamedTuple):
    """One worker that is not declared dead, as it described itself."""

    id: UUID
    host: str
    pid: int | None
    silent: float
    """Seconds since its last beat."""
    missed: bool
    """Whether it was silent for a sixth of its lease, after which another may bury it if its session is gone."""
    late: bool
    """Whether its lease is over."""
    pools: list[tuple[list[str], int]]
    """Entries of the queues, and concurrency, of each pool."""
    kinds: frozenset[str]
    aliases: dict[str, tuple[str, ...]]
    """Former names of kinds that have any."""
    held: dict[str, int]
    """Running jobs by queue."""
    claims_nothing: str = ""
    """Why it claims nothing, as it reports; else empty."""


async def read_serving(connection: Connection) -> list[Serving]:
    """Read the workers that are not declared dead, the oldest first."""
    return [_serving(row) for row in await connection.fetch(sql.read("read_serving"))]


async def read_why(connection: Connection, job_id: UUID, kinds: Iterable[str]) -> Waiting | None:
    """Read what one job waits for; `kinds` are those that any worker knows."""
    row = await connection.fetchrow(sql.read("read_why"), job_id, list(kinds), LOOKED_AT, COUNTED)
    return None if row is None else Waiting(*row)


async def read_limit(connection: Connection, job_id: UUID, limit: int) -> AtLimit | None:
    """Read the limit at which a job waits, with at most `limit` jobs that hold a place there; None: it waits at none."""
    row = await connection.fetchrow(sql.read("read_limit"), job_id, limit)
    return None if row is None else AtLimit(*row)


def _serving(row: Record) -> Serving:
    said = shown_object(row["about"])
    pid = said.get("pid")
    kinds, aliases = said.get("kinds"), said.get("aliases")
    return Serving(
        id=row["id"],
        host=row["host"] or str(said.get("host") or ""),
        pid=pid if isinstance(pid, int) else None,
        silent=row["silent"],
        missed=row["missed"],
        late=row["late"],
        pools=_pools(said.get("pools")),
        kinds=frozenset(map(str, kinds)) if isinstance(kinds, list) else frozenset(),
        aliases={
            str(kind): tuple(map(str, names))
            for kind, names in (aliases.items() if isinstance(aliases, dict) else ())
            if isinstance(names, list)
        },
        held={str(queue): int(count) for queue, count in shown_object(row["held"] or "{}").items()},
        claims_nothing=str(shown_object(row["report"] or "{}").get("claims_nothing") or ""),
    )


def _pools(said: Any) -> list[tuple[list[str], int]]:
    """Read a worker's pools; parts in a form of another version are left out."""
    found = []
    for pool in said if isinstance(said, list) else ():
        queues, concurrency = (pool.get("queues"), pool.get("concurrency")) if isinstance(pool, dict) else (None, None)
        if isinstance(queues, list) and queues and isinstance(concurrency, int):
            found.append(([str(queue) for queue in queues], concurrency))
    return found
