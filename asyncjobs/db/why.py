"""What is read to say what a job waits for: two bounded statements, to be run under a short statement timeout."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from asyncpg import Connection, Record

from asyncjobs.db import sql
from asyncjobs.values.plain_json import shown_object

COUNTED = 1_000
"""Jobs ahead of another that are counted; it shows this many when there are more."""
LOOKED_AT = 10_000
"""Jobs ahead of another that are looked at: those of kinds that nobody knows are not in its way."""


class Waiting(NamedTuple):
    """What one job's own row says, and its queue."""

    id: UUID
    state: int
    kind: str
    queue: str
    attempt: int
    crashes: int
    error: str | None
    """Of its last attempt that went wrong, one JSON line."""
    reason: str | None
    cancel_reason: str | None
    run_at: datetime | None
    due_in: float | None
    """Seconds; negative when it is past. None once it is final, and when it waits as long as it takes."""
    expired: bool
    """Whether it was not started in time."""
    started_at: datetime | None
    finished_at: datetime | None
    since: float | None
    """Seconds since its attempt began; once it is final, since it ended."""
    worker: UUID | None
    ahead: int
    """Ready jobs of its queue that come before it, and are of a kind that its workers know; at most `COUNTED`."""
    step: str | None = None
    """The sleep or wait that it is in."""
    event: str | None = None
    """What that waits for."""
    key: str | None = None
    counts: str | None = None
    """JSON of what is counted of it, while it is live."""
    apart: bool = False
    """Whether it runs in a process of its own, or of suspects."""
    together: int | None = None
    """At most so many suspects share a process with it, itself included; None: any number."""
    after: UUID | None = None
    """The job that it begins after; of several that each wait for the one before, the first."""
    anyhow: bool | None = None
    """Whether that may end as it pleases: it is the newer one of a unique key."""
    before_kind: str | None = None
    before_state: int | None = None
    """Of that job; None: its row is gone."""
    links: int | None = None
    """How far that is before it in its chain; 1: it is the one before."""
    pause: str | None = None
    """JSON of the pause of its queue or its kind."""


class AtLimit(NamedTuple):
    """The limit at which a job waits."""

    key: str
    most: int | None
    """How many may run at once; None: any number, it is a rate."""
    said_by: str
    """Who says so: a key of `limiting.BY`."""
    is_known: bool
    """Whether any worker has said yet what it allows."""
    held: int
    next_start: float | None
    """Seconds until the next start of a rate; None: there is none, or it is due."""
    ahead: int
    """Jobs that wait there before it; at most 1,000 are counted."""
    holders: list[UUID]
    """The first of those that hold a place."""


class Serving(NamedTuple):
    """One worker whose end nobody has declared, as it described itself."""

    id: UUID
    host: str
    pid: int | None
    silent: float
    """Seconds since its last sign of life."""
    missed: bool
    """Whether it was silent for a sixth of its lease, after which another may find that its session is gone, and it dead."""
    late: bool
    """Whether its lease is over."""
    pools: list[tuple[list[str], int]]
    """Entries of the queues, and concurrency, of each."""
    kinds: frozenset[str]
    held: dict[str, int]
    """Running jobs by queue."""
    claims_nothing: str = ""
    """Why, where it says so; else empty."""


async def read_serving(connection: Connection) -> list[Serving]:
    """Read who is at work, the longest first."""
    return [_serving(row) for row in await connection.fetch(sql.read("read_serving"))]


async def read_why(connection: Connection, job_id: UUID, kinds: Iterable[str]) -> Waiting | None:
    """Read what one job waits for; `kinds`: those that anybody knows."""
    row = await connection.fetchrow(sql.read("read_why"), job_id, list(kinds), LOOKED_AT, COUNTED)
    return None if row is None else Waiting(*row)


async def read_limit(connection: Connection, job_id: UUID, limit: int) -> AtLimit | None:
    """Read at which limit a job waits, with so many at most of those that hold a place there; None: at none."""
    row = await connection.fetchrow(sql.read("read_limit"), job_id, limit)
    return None if row is None else AtLimit(*row)


def _serving(row: Record) -> Serving:
    said = shown_object(row["about"])
    pid = said.get("pid")
    kinds = said.get("kinds")
    return Serving(
        id=row["id"],
        host=row["host"] or str(said.get("host") or ""),
        pid=pid if isinstance(pid, int) else None,
        silent=row["silent"],
        missed=row["missed"],
        late=row["late"],
        pools=_pools(said.get("pools")),
        kinds=frozenset(map(str, kinds)) if isinstance(kinds, list) else frozenset(),
        held={str(queue): int(count) for queue, count in shown_object(row["held"] or "{}").items()},
        claims_nothing=str(shown_object(row["report"] or "{}").get("claims_nothing") or ""),
    )


def _pools(said: Any) -> list[tuple[list[str], int]]:
    """Read pools; what a worker says about itself may be of another version."""
    found = []
    for pool in said if isinstance(said, list) else ():
        queues, concurrency = (pool.get("queues"), pool.get("concurrency")) if isinstance(pool, dict) else (None, None)
        if isinstance(queues, list) and queues and isinstance(concurrency, int):
            found.append(([str(queue) for queue in queues], concurrency))
    return found
