"""The claim of a pool with aging: whose turn it is, by how long each has waited, and what it costs."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import asyncpg
import pytest
from db_rows import make_worker

from asyncjobs import InvalidSettings
from asyncjobs.db import claims
from asyncjobs.db.connecting import PINNED_PLANS, connect
from asyncjobs.records.claimed import Claimed
from asyncjobs.settings import load
from asyncjobs.worker.claiming.queue_positions import QueuePositions

PUT = """insert into asyncjobs.job (id, kind, queue, priority, run_at)
         select gen_random_uuid(), 'k', $1, $2, clock_timestamp() - make_interval(secs => $3 - i * 0.001)
         from generate_series(1, $4::int) as i"""


async def claim(
    connection: asyncpg.Connection, worker: UUID, free: int, *, queues: tuple[str, ...] = ("q",), aging: float = 60.0
) -> list[Claimed]:
    ranges = [one for turn, queue in enumerate(queues, 1) for one in QueuePositions().ranges(turn, queue, full=True)]
    return await claims.claim_aged(connection, free=free, ranges=ranges, kinds=["k"], worker=worker, aging=aging)


async def test_a_job_gains_a_step_of_priority_a_minute(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    await connection.execute(PUT, "q", 0, 0.0, 3)
    await connection.execute(PUT, "q", 5, 4.5 * 60, 1)  # as one of priority 0.5
    await connection.execute(PUT, "q", 9, 9.5 * 60, 1)  # as one of -0.5
    claimed = await claim(worker_session, worker, 10)
    assert [job.priority for job in claimed] == [9, 0, 0, 0, 5]


async def test_of_fewer_slots_the_oldest_get_them_and_the_next_claim_goes_on(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    for priority in range(4):
        await connection.execute(PUT, "q", priority, priority * 90.0, 30)  # the less urgent have waited longer
    order = []
    while claimed := await claim(worker_session, worker, 7):
        order += [job.priority for job in claimed]
    assert order == [3] * 30 + [2] * 30 + [1] * 30 + [0] * 30


async def test_the_queues_of_a_pool_come_in_their_order_however_old(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    await connection.execute(PUT, "later", -10, 3600.0, 2)
    await connection.execute(PUT, "first", 10, 0.0, 2)
    claimed = await claim(worker_session, worker, 3, queues=("first", "later"))
    assert [job.queue for job in claimed] == ["first", "first", "later"]


async def test_within_a_priority_the_order_is_that_of_seq_which_the_marks_need(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    await connection.execute(PUT, "q", 0, 10.0, 1)
    await connection.execute(PUT, "q", 0, 500.0, 1)  # retried, say: due long ago, and ready since now
    claimed = await claim(worker_session, worker, 1)
    assert claimed[0].seq == await connection.fetchval("select min(seq) from asyncjobs.job")


async def test_two_claims_at_once_take_different_jobs(
    url: str, worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    for priority in range(5):
        await connection.execute(PUT, "q", priority, 0.0, 20)
    other = await connect(url, settings=PINNED_PLANS)
    taken: list[UUID] = []
    while found := await asyncio.gather(claim(worker_session, worker, 9), claim(other, worker, 9)):
        if not any(found):
            break
        taken += [job.id for claimed in found for job in claimed]
    other.terminate()
    assert len(taken) == len(set(taken)) == 100


async def test_marks_are_kept_where_a_claim_went_on(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    await connection.execute(PUT, "q", 0, 0.0, 5)
    await connection.execute(PUT, "q", 3, 0.0, 5)
    marks = QueuePositions()
    first = await connection.fetchval("select min(seq) from asyncjobs.job where priority = 3")
    marks.claimed("q", 3, first + 1)
    ranges = marks.ranges(1, "q", full=False, continues=True)
    claimed = await claims.claim_aged(worker_session, free=20, ranges=ranges, kinds=["k"], worker=worker, aging=60.0)
    assert [job.seq for job in claimed if job.priority == 3] == [first + n for n in range(1, 5)]


@pytest.mark.slow
async def test_among_a_hundred_thousand_of_ten_priorities_a_claim_reads_a_few_of_each(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    worker = await make_worker(connection)
    for priority in range(10):
        await connection.execute(PUT, "q", priority, 0.0, 10_000)
    await claim(worker_session, worker, 10)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert len(await claim(worker_session, worker, 10)) == 10
        took.append(time.perf_counter() - began)
    print(f"a claim of 10 among 100,000: {min(took) * 1000:.1f} ms")
    await connection.execute("set enable_seqscan = off; set plan_cache_mode = force_custom_plan")
    text = claims.claim_aged_text()
    for number, value in enumerate(
        ("array[10]", "array[1]", "array['q']", "array[-32768]", "array[32767]", f"array[{-(2**63)}]", "array['k']",
         f"'{worker}'", "array[]::text[]", "array[]::text[]", "4", "60.0"), 1):  # fmt: skip
        text = text.replace(f"${number}::", f"({value})::")
    plan = "\n".join(row[0] for row in await connection.fetch(f"explain (analyze, buffers, timing off) {text}"))
    read = sum(
        int(part.split("=")[1])
        for line in plan.splitlines()[-60:]
        for part in line.split()
        if part.startswith("actual rows=")
    )
    assert "Seq Scan on job" not in plan, plan
    assert read < 5_000, plan


@pytest.mark.parametrize(
    ("aging", "says"),
    [(0, "0 is not allowed; give from 1s to 30d"), ("soon", '"soon" is not a time'), (True, "true is not a time")],
)
def test_what_aging_cannot_be_is_refused(aging: object, says: str) -> None:
    with pytest.raises(InvalidSettings) as raised:
        load(pools=[{"queues": ["q"], "concurrency": 1, "aging": aging}])
    assert says in str(raised.value)


def test_aging_is_seconds_or_a_time_and_usually_there_is_none() -> None:
    aged, plain = load(
        pools=[{"queues": ["q"], "concurrency": 1, "aging": "1m"}, {"queues": ["r"], "concurrency": 1}]
    ).pools
    assert (aged.aging, plain.aging) == (60.0, None)
