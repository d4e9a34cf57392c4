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
