"""Statements on jobs, as functions from plain values to plain values. Each is one statement and one round trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from asyncpg import Connection

from asyncjobs.db import sql
from asyncjobs.db.rows import Finish, Finished, NewJob, Range, Reschedule, State, StatusRow, Stored, state_name
from asyncjobs.records.claimed import Claimed

_GREATEST_SEQ = 2**63 - 1
YEAR = 365
STATUS_WAYS: tuple[str, ...] = ("read_status", "read_status_without_arguments", "read_status_by_function")
"""Statements that return less and less: for workers, for viewers, and for enqueuers."""
MOST_SPARED = 10
"""Crashes of a job in a row that may not be charged to it; the next one is."""
UNPACED, EVERY_SORT = 2, 4
"""Bounds of `limit_kind`: jobs below it are claimed."""
_COPY_COLUMNS = ("id", "kind", "queue", "priority", "args")


async def enqueue_one(connection: Connection, job: NewJob) -> None:
    """Insert one job that is due now and whose id is new, and notify."""
    await connection.fetch(sql.read("enqueue_one"), job.id, job.kind, job.queue, job.priority, job.args)


async def enqueue_one_quietly(connection: Connection, job: NewJob) -> None:
    """Insert one job that is due now and whose id is new, without a notice."""
    await connection.fetch(sql.read("enqueue_one_quietly"), job.id, job.kind, job.queue, job.priority, job.args)


async def enqueue_many(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Insert jobs whose ids are new, due now or later, and notify; return how many were made."""
    row = await connection.fetchrow(sql.read("enqueue_many"), *_columns(jobs))
    return int(row["made"])


async def enqueue_row(connection: Connection, job: NewJob, *, quietly: bool) -> None:
    """Insert like `enqueue_one`, by the function with the owner's rights; `quietly`: without a notice."""
    await connection.fetch(sql.read("enqueue_row"), job.id, job.kind, job.queue, job.priority, job.args, quietly)


async def enqueue_rows(connection: Connection, jobs: Sequence[NewJob]) -> int:
    """Insert like `enqueue_many`, by the function with the owner's rights."""
    return int(await connection.fetchval(sql.read("enqueue_rows"), *_columns(jobs)))


async def enqueue_ordered(connection: Connection, jobs: Sequence[NewJob]) -> list[Stored]:
    """Insert jobs with limits or unique keys, due now or later, and notify; return how each was stored, in their order.

    Rows with their ids may exist already, if they were sent before.
    """
    ids, kinds, queues, priorities, args, run_ats, delays, expiries, orders, *_ = zip(
        *[job.with_order() if job.is_labelled else job for job in jobs], strict=True
    )
    rows = await connection.fetch(
        sql.read("enqueue_ordered"),
        ids,
        kinds,
        queues,
        priorities,
        args,
        run_ats,
        delays,
        expiries,
        [order or "{}" for order in orders],
    )
    return [Stored(row["id"], row["disposition"]) for row in sorted(rows, key=lambda row: int(row["n"]))]


def _columns(jobs: Sequence[NewJob]) -> list[Any]:
    ids, kinds, queues, priorities, args, run_ats, delays, expiries, _, labels, searchable = zip(*jobs, strict=True)
    return [
        ids,
        args,
        _unless_same(kinds),
        _unless_same(queues),
        _unless_same(priorities),
        _unless_none(run_ats),
        _unless_none(delays),
        kinds[0],
        queues[0],
        priorities[0],
        _unless_none(expiries),
        _as_arrays(labels),
        _as_arrays(searchable),
    ]


def _unless_same(column: Sequence[Any]) -> Sequence[Any]:
    """Return a column, or an empty one if all its values are the same: to encode an element costs 0.3 µs."""
    return () if column.count(column[0]) == len(column) else column


def _unless_none(column: Sequence[Any]) -> Sequence[Any]:
    return () if column.count(None) == len(column) else column


def _as_arrays(column: Sequence[Sequence[str] | None]) -> Sequence[str | None]:
    """Return arrays as PostgreSQL writes them, since `unnest` would take one array of arrays for one array of all."""
    return [None if each is None else _as_array(each) for each in _unless_none(column)]


def _as_array(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


async def enqueue_copy(connection: Connection, jobs: Sequence[NewJob]) -> None:
    """Insert jobs that are due now and whose ids are new, by COPY, and notify once a queue, in one transaction.

    COPY is fastest (155,000 rows/s against 105,000 by unnest), but cannot compute times: delayed jobs are inserted by
    `enqueue_many`, and so are few jobs, since this takes three round trips.
    """
    async with connection.transaction():
        least = await connection.fetchval(sql.read("next_seq"))
        await connection.copy_records_to_table(
            "job", schema_name="asyncjobs", columns=_COPY_COLUMNS, records=(job[:5] for job in jobs)
        )
        await notify_ready(connection, {job.queue for job in jobs}, least)


async def enqueue_again(connection: Connection, job: NewJob) -> bool:
    """Insert one job whose id may exist already; return whether a row was made."""
    if job.is_labelled:
        [stored] = await enqueue_ordered(connection, [job])
        return stored.disposition == "enqueued"
    row = (job.id, job.kind, job.queue, job.priority, job.run_at, job.delay, job.args, job.expires_in)
    return bool(await connection.fetchval(sql.read("enqueue_again"), *row))


async def read_depth(connection: Connection, queue: str, most: int) -> int:
    """Return the number of ready jobs in a queue; at most `most` are counted."""
    return int(await connection.fetchval(sql.read("read_depth"), queue, most))


async def read_placeless(connection: Connection, given: str) -> str:
    """Return the jobs with unique keys that would add no ready job; JSON in and out, as `asyncjobs.placeless` has it."""
    return str(await connection.fetchval(sql.read("placeless"), given))


async def notify_ready(connection: Connection, queues: Iterable[str], least: int = _GREATEST_SEQ) -> None:
    """Wake the workers that serve `queues`, to look from the seq `least` on.

    The default is for rows that are milliseconds old, which no position has passed.
    """
    await connection.fetch(sql.read("notify_ready"), list(queues), least)


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
    claimed = [Claimed(*row) for row in rows]
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
    return sorted(Claimed(*row) for row in rows)


async def ready_queues(connection: Connection, *, after: str, limit: int) -> list[str]:
    """Return at most `limit` names of queues that have a ready job, after the name `after` in the database's order."""
    return [row["queue"] for row in await connection.fetch(sql.read("ready_queues"), after, limit)]


async def finish(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Move jobs that have ended to the history; return how many. `finishes` are in the order of their ids."""
    ids, fences, states, results, errors, reasons, days, *_ = zip(*finishes, strict=True)
    row = await connection.fetchrow(
        sql.read("finish"),
        ids,
        fences,
        () if all(state == State.succeeded for state in states) else states,
        _unless_none(results),
        _unless_none(errors),
        _unless_none(reasons),
        _unless_same(days),
        days[0],
    )
    return int(row["moved"])


async def finish_without_steps(connection: Connection, finishes: Sequence[Finish]) -> int:
    """Move one job that has ended to the history, without its steps, its attributes and its result."""
    [ended] = finishes
    async with connection.transaction():
        await connection.fetch(sql.read("forget_steps"), ended.id, ended.fence)
        return await finish(connection, [ended._replace(result=None)])


async def finished_with_fence(connection: Connection, finishes: Sequence[Finish]) -> set[UUID]:
    """Return the ids of jobs that are in the history with the given fence."""
    ids, fences = zip(*((f.id, f.fence) for f in finishes), strict=True)
    return {row["id"] for row in await connection.fetch(sql.read("finished_with_fence"), ids, fences)}


async def reschedule(connection: Connection, jobs: Sequence[Reschedule]) -> int:
    """Give running jobs back, to run again; return how many. `jobs` are in the order of their ids."""
    ids, fences, delays, errors, counts, spent, queues, priorities, crashed, started, waits, together, limits, _ = zip(
        *jobs, strict=True
    )
    row = await connection.fetchrow(
        sql.read("reschedule"),
        ids,
        fences,
        delays if any(delays) else (),
        _unless_none(errors),
        _unless_none(counts),
        spent if any(spent) else (),
        _unless_none(queues),
        _unless_none(priorities),
        crashed if any(crashed) else (),
        started if any(started) else (),
        waits if any(waits) else (),
        _unless_none(together),
        _unless_none(limits),
    )
    return int(row["given_back"])


async def rescheduled_with_fence(connection: Connection, jobs: Sequence[Reschedule]) -> set[UUID]:
    """Return the ids of jobs that were given back from the given attempt, and not claimed since."""
    ids, fences = zip(*((job.id, job.fence) for job in jobs), strict=True)
    return {row["id"] for row in await connection.fetch(sql.read("rescheduled_with_fence"), ids, fences)}


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
    return sorted(Claimed(*row) for row in rows)


async def read_cancels(connection: Connection, worker: UUID) -> list[UUID]:
    """Return the running jobs of a worker that were asked to be cancelled."""
    return [row["id"] for row in await connection.fetch(sql.read("read_cancels"), worker)]


async def cancel(connection: Connection, job_id: UUID, reason: str, days: int) -> str | None:
    """Cancel a job; return "cancelled", "cancelling" (it runs), "final", or None: there is no such job."""
    found: str | None = await connection.fetchval(sql.read("cancel"), job_id, reason, days)
    return found


async def read_held(connection: Connection, worker: UUID, kinds: Mapping[str, int]) -> list[tuple[UUID, int, bool]]:
    """Return the jobs that run under a worker's lease: ids, fences, and whether the claim counted no attempt.

    Args:
        connection: A connection with pinned plans.
        worker: The worker that asks.
        kinds: The kinds that it knows, each with its `max_crashes`.
    """
    rows = await connection.fetch(sql.read("read_held"), worker, list(kinds), list(kinds.values()))
    return [(row["id"], row["fence"], row["refused"]) for row in rows]


async def promote(connection: Connection, limit: int) -> tuple[int, float | None]:
    """Make due jobs ready; return how many, and the seconds until the next is due (None: none is scheduled)."""
    row = await connection.fetchrow(sql.read("promote"), limit)
    return int(row["promoted"]), row["next_due"]


async def await_jobs(connection: Connection, ids: Sequence[UUID], way: str = "await_jobs") -> set[UUID]:
    """Set the flags that have notices sent when jobs become final; return the ids that are live."""
    return {row["id"] for row in await connection.fetch(sql.read(way), sorted(ids))}


async def read_finished(connection: Connection, ids: Sequence[UUID], way: str = "read_finished") -> list[Finished]:
    """Return the ends of the jobs that have ended, in no order."""
    return [Finished(*row) for row in await connection.fetch(sql.read(way), ids)]


async def read_live(connection: Connection, ids: Sequence[UUID], way: str = "read_live") -> set[UUID]:
    """Return the ids that are live."""
    return {row["id"] for row in await connection.fetch(sql.read(way), ids)}


async def read_states(
    connection: Connection, ids: Sequence[UUID], way: str = "read_states"
) -> dict[UUID, tuple[str, str]]:
    """Return the states of jobs that have a row, and their reasons if they were discarded or cancelled."""
    rows = await connection.fetch(sql.read(way), ids)
    return {row["id"]: (state_name(row["state"]), row["reason"] or "") for row in rows}


async def read_status(connection: Connection, job_id: UUID, way: str = STATUS_WAYS[0]) -> StatusRow | None:
    """Return the row of one job as one of `STATUS_WAYS` reads it, or None."""
    row = await connection.fetchrow(sql.read(way), job_id)
    return None if row is None else StatusRow(*row)._replace(shows_result=way != STATUS_WAYS[2])


async def rescue(connection: Connection, limit: int) -> int:
    """Make jobs of dead workers ready again; return how many."""
    row = await connection.fetchrow(sql.read("rescue"), limit, MOST_SPARED)
    return int(row["rescued"])


async def make_partitions(connection: Connection, days: int) -> int:
    """Make the history's partitions through `days` ahead, a year in one statement; return how many were made.

    Each statement is a transaction of its own: ten years in one could exceed the deadline, and would be tried for ever.
    """
    stretches = [*range(YEAR, days, YEAR), days]
    return sum([int(await connection.fetchval(sql.read("make_partitions"), stretch)) for stretch in stretches])


async def drop_expired(connection: Connection) -> int:
    """Drop the days of the history that are past their retention; return how many."""
    return int(await connection.fetchval(sql.read("drop_expired")))


async def enqueue_by_name(
    connection: Connection,
    kind: str,
    args: str,
    *,
    queue: str,
    priority: int,
    run_at: datetime | None,
    delay: float | None,
    tags: Sequence[str],
    meta: str,
) -> UUID:
    """Insert one job of any kind by the SQL function; return its id. `args` and `meta` are JSON texts."""
    found: UUID = await connection.fetchval(
        sql.read("enqueue_by_name"), kind, args, queue, priority, run_at, delay, tags, meta
    )
    return found
