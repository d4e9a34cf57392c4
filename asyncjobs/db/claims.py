"""Statements that claim jobs, and those that find the queues to claim from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from uuid import UUID

from asyncpg import Connection, Record

from asyncjobs.db import sql
from asyncjobs.db.rows import Range
from asyncjobs.records.claimed import Claimed

_CLAIMED: Callable[[Record], Claimed] = partial(tuple.__new__, Claimed)
"""Makes a row of all columns a `Claimed`, in half the time that `Claimed(*row)` takes: 0.4 µs."""
UNPACED, EVERY_SORT = 2, 4
"""Bounds of `limit_kind`: jobs below it are claimed."""


async def claim(
    connection: Connection,
    *,
    free: Sequence[int],
    ranges: Sequence[Range],
    kinds: Sequence[str],
    worker: UUID,
    apart: Sequence[str] = (),
    once: Sequence[str] = (),
    paced: bool = True,
) -> list[Claimed]:
    """Claim jobs for the free slots of pools that share no queue.

    Args:
        connection: A connection with pinned plans.
        free: Free slots of each pool; pool 1 is `free[0]`.
        ranges: The ranges to look at, in order.
        kinds: The kinds that this worker knows; jobs of others stay ready.
        worker: The worker under whose lease the jobs run; dead or missing, nothing is claimed.
        apart: Kinds among `kinds` that run in processes of their own.
        once: Kinds among `kinds` that may not crash a second time.
        paced: Whether to claim jobs under rates, too, and to count their starts; that takes longer.

    Returns:
        At most `free[n]` jobs for each pool, in the order they are to run.
    """
    pool, queue, low, high, mark = zip(*ranges, strict=True)
    text = counting_starts(sql.read("claim")) if paced else sql.read("claim")
    rows = await connection.fetch(
        text, free, pool, queue, low, high, mark, kinds, worker, apart, once, EVERY_SORT if paced else UNPACED
    )
    # UPDATE … RETURNING keeps no order. The columns come in the order of Claimed's fields.
    claimed = list(map(_CLAIMED, rows))
    claimed.sort()  # by pool, range, priority, seq; no two have the same seq
    return claimed


@cache
def counting_starts(claim: str) -> str:
    """Return a claim that also counts the starts of jobs under rates, in the same statement.

    Without rates the plain claim is used, which needs one table less.
    """
    begin = claim.index("update asyncjobs.job")
    update = f"{claim[begin:].rstrip()}, job.limit_keys, job.limit_kind, job.started_at"
    return f"{claim[:begin].rstrip()}, claimed as (\n{update}\n), {_without_head(sql.read('count_starts'))}"


def _without_head(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


@cache
def claim_aged_text(paced: bool = True) -> str:
    """Return the claim for a pool with aging: it picks jobs in its own way, and updates them as the plain claim does."""
    rule = sql.read("claim")
    text = f"{sql.read('claim_aged')}\n{rule[rule.index('update asyncjobs.job') :]}"
    return counting_starts(text) if paced else text


async def claim_aged(
    connection: Connection,
    *,
    free: int,
    ranges: Sequence[Range],
    kinds: Sequence[str],
    worker: UUID,
    aging: float,
    apart: Sequence[str] = (),
    once: Sequence[str] = (),
    paced: bool = True,
) -> list[Claimed]:
    """Claim jobs for the free slots of one pool whose jobs gain priority while they wait; see `claim`.

    Args:
        ranges: The ranges to look at; `pool` is the turn of the range's queue.
        aging: Seconds in which a waiting job gains one step of priority.
    """
    turn, queue, low, high, mark = zip(*ranges, strict=True)
    rows = await connection.fetch(
        claim_aged_text(paced),
        [free],
        turn,
        queue,
        low,
        high,
        mark,
        kinds,
        worker,
        apart,
        once,
        EVERY_SORT if paced else UNPACED,
        aging,
    )
    return sorted(map(_CLAIMED, rows))


async def claim_suspects(
    connection: Connection,
    *,
    queues: Sequence[str],
    limit: int,
    kinds: Mapping[str, int],
    worker: UUID,
    apart: bool,
) -> list[Claimed]:
    """Claim suspects: jobs that have crashed twice.

    Args:
        connection: A connection with pinned plans.
        queues: The queues to look at, in order.
        limit: The number of jobs, at most.
        kinds: The kinds to claim, each with its `max_crashes`.
        worker: The worker under whose lease the jobs run.
        apart: Whether they run in processes of their own.
    """
    rows = await connection.fetch(
        sql.read("claim_suspects"), queues, limit, list(kinds), list(kinds.values()), worker, apart
    )
    return sorted(map(_CLAIMED, rows))


async def ready_queues(connection: Connection, *, after: str, limit: int) -> list[str]:
    """Return at most `limit` names of queues that have a ready job, after the name `after` in the database's order."""
    return [row["queue"] for row in await connection.fetch(sql.read("ready_queues"), after, limit)]
