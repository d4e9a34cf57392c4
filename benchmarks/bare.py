"""The work of a job runner in bare SQL: the statements, and the calls that the floor is measured with."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

KIND, QUEUE, ARGS = "benchmarks.jobs.noop", "default", '{"n":1}'
READY, DONE = "floor_ready", "floor_done"
WORKER = uuid.uuid4()

INSERT = "insert into floor.job (id, kind, queue, args) values ($1, $2, $3, $4)"
INSERT_AND_NOTIFY = f"""
with row as (insert into floor.job (id, kind, queue, args) values ($1, $2, $3, $4) returning seq)
select pg_notify('{READY}', seq::text) from row"""

# clock_timestamp() throughout: asyncpg's prepare leaves a transaction open in which now() stands still.
CLAIM = """
with picked as materialized (
  select ctid from floor.job where queue = $1 and state = 1 and held = 0
  order by priority, seq limit $2 for update skip locked
)
update floor.job
set state = 2, attempt = attempt + 1, fence = nextval('floor.fence_seq'), worker = $3, started_at = clock_timestamp()
from picked where job.ctid = picked.ctid
returning job.id, job.fence, job.attempt, job.priority, job.seq, job.kind, job.queue, job.args"""

_MOVED = """
with given as materialized (select * from unnest($1::uuid[], $2::bigint[], $3::text[]) as given(id, fence, result)),
gone as (
  delete from floor.job using given where job.id = given.id and job.fence = given.fence
  returning job.*, given.result
),
moved as (
  insert into floor.finished (id, fence, expires_on, enqueued_at, started_at, finished_at, batch, priority, state,
                              attempt, kind, queue, args, result)
  select id, fence, current_date + 7, enqueued_at, started_at, clock_timestamp(), batch, priority, 4,
         attempt, kind, queue, args, result
  from gone returning id
)"""
MOVE = _MOVED + "select count(*) from moved"
MOVE_AND_NOTIFY = _MOVED + f"select pg_notify('{DONE}', id::text) from moved"

GIVE_BACK = """
with given as materialized (select * from unnest($1::uuid[], $2::bigint[], $3::text[]) as given(id, fence, error))
update floor.job
set state = 1, seq = nextval('floor.ready_seq'), fence = -job.fence, worker = null,
    progress = concat_ws(E'\\n', progress, given.error)
from given where job.id = given.id and job.fence = given.fence"""
ERROR = '{"attempt":1,"type":"builtins.ConnectionError","message":"1","traceback":"' + "x" * 250 + '"}'

READ = "select state, result from floor.finished where id = $1"
FROM_FIRST_CLAIM_TO_LAST_FINISH = """
select count(*), extract(epoch from max(finished_at) - min(started_at))::float8 from {schema}.finished"""


def new_id() -> uuid.UUID:
    """A UUIDv7, so that the primary key grows at its end, as ours does."""
    random = int.from_bytes(os.urandom(10)) & ~(0xF << 76) & ~(0x3 << 62)
    return uuid.UUID(int=(time.time_ns() // 1_000_000) << 80 | 7 << 76 | 2 << 62 | random)


def row() -> tuple[uuid.UUID, str, str, str]:
    """One job's values, as INSERT takes them."""
    return new_id(), KIND, QUEUE, ARGS


async def copy(connection: asyncpg.Connection, rows: list[tuple[uuid.UUID, str, str, str]]) -> None:
    await connection.copy_records_to_table(
        "job", schema_name="floor", columns=("id", "kind", "queue", "args"), records=rows
    )


async def drain_failing(claimer: asyncpg.Connection, mover: asyncpg.Connection, size: int) -> int:
    """The same for jobs that are given back, with an error, after their first two attempts; return how many attempts."""
    attempts = 0
    writing: list[asyncio.Task[object]] = []
    while True:
        batch = await claimer.fetch(CLAIM, QUEUE, size, WORKER)
        for task in writing:
            await task
        if not batch and not writing:
            return attempts
        writing = [asyncio.create_task(_write(mover, batch))] if batch else []
        attempts += len(batch)


async def _write(mover: asyncpg.Connection, batch: list[asyncpg.Record]) -> None:
    again = [row for row in batch if row["attempt"] < 3]
    done = [row for row in batch if row["attempt"] >= 3]
    for statement, rows, value in ((GIVE_BACK, again, ERROR), (MOVE, done, "null")):
        if rows:
            ids, fences = [row["id"] for row in rows], [row["fence"] for row in rows]
            await mover.fetchval(statement, ids, fences, [value] * len(rows))


async def drain(claimer: asyncpg.Connection, mover: asyncpg.Connection, size: int) -> int:
    """Claim and move until nothing is left, *size* at a time, each batch moved while the next is claimed."""
    moved = 0
    batch = await claimer.fetch(CLAIM, QUEUE, size, WORKER)
    while batch:
        ids, fences = [row["id"] for row in batch], [row["fence"] for row in batch]
        move = asyncio.create_task(mover.fetchval(MOVE, ids, fences, ["null"] * len(ids)))
        batch = await claimer.fetch(CLAIM, QUEUE, size, WORKER)
        moved += await move
    return moved
