"""The hot statements take the index they were written for, whatever the planner believes about the tables.

A plan is cached with the session: one made while the queue was empty meets the backlog that comes later.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator

import asyncpg
import pytest
from db_rows import claim, make_worker, pinned, put, succeeded

from asyncjobs.db import jobs, reading, sql
from asyncjobs.db.connecting import connect
from tests.conftest import Databases

own = pytest.mark.usefixtures("database_url")
"""For a database that nobody has analysed."""

ID = "'018f0000-0000-7000-8000-000000000000'"
TRUE = "array[true]"
X = "array['x']"
IDS = f"array[{ID}]::uuid[]"

# Statement: its arguments, and what its plan must have.
HOT = {
    "claim": (
        f"array[10], array[1], array['q'], array[-32768], array[32767], array[0], array['k'], {ID}, array['k'], array['k'], 2",
        ["Index Scan using job_for_claim", "ROW(priority, seq)", "Tid Scan on job"],
    ),
    "finish": (
        f"{IDS}, array[1], array[4], array['x'], array['x'], array['x'], array[7], 7",
        ["Index Scan using job_pkey", "Index Cond: ((id >= "],
    ),
    "reschedule": (
        f"{IDS}, array[1], array[0.0], {X}, {X}, {TRUE}, {X}, array[1], {TRUE}, {TRUE}, {TRUE}, array[1], {X}",
        ["Index Scan using job_pkey", "Index Cond: ((id >= "],
    ),
    "record_steps": (
        f"{IDS}, array[1], array[1], {X}, {X}, {X}, {X}, {X}, array[1.0], {X}, {X}",
        ["Index Scan using job_pkey", "Index Cond: ((id >= "],
    ),
    "lock_running": (f"{IDS}, array[1]", ["Index Scan using job_pkey", "Index Cond: ((id >= "]),
    "tell_waits": (
        f"{IDS}, array[1], array[1], {IDS}, array[false]",
        ["Index Scan using job_pkey", "Index Cond: ((id >= "],
    ),
    "record_step": (
        f"{ID}, 1, 1, 'a', 'started', null, null, null, 1.0",
        ["Index Scan using job_pkey on job", "Index Cond: (id = ", "Conflict Arbiter Indexes: step_pkey"],
    ),
    "record_step_and_attributes": (
        f"{ID}, 1, 1, 'a', 'started', null, null, null, 1.0, '{{}}'",
        ["Index Scan using job_pkey on job", "Index Cond: (id = ", "Conflict Arbiter Indexes: step_pkey"],
    ),
    "claim_suspects": (
        f"array['q'], 10, array['k'], array[3], {ID}, true",
        ["Index Scan using job_for_suspects", "Tid Scan on job"],
    ),
    "promote": ("500", ["Index Scan using job_for_promotion", "Index Cond: (run_at <= ", "Tid Scan on job"]),
    "rescue": ("500, 10", ["using job_for_rescue on job", "Index Cond: (worker = ", "Tid Scan on job"]),
}
COLD = {
    "await_jobs": (IDS, ["Index Scan using job_pkey on job", "Index Cond: ((id >= "]),
    "read_live": (IDS, ["using job_pkey on job", "Index Cond: (id = given.id)"]),
    "read_finished": (IDS, ["_id_idx on finished_", "Index Cond: (id = given.id)"]),
    "rescheduled_with_fence": (f"{IDS}, array[1]", ["Index Scan using job_pkey", "Index Cond: ((id >= "]),
    "read_steps": (ID, ["using step_pkey on step"]),
    "forget_events": ("1.0, 500", ["Index Scan using event_pkey on event"]),
    "read_cancels": (ID, ["using job_for_cancel on job"]),
    "finished_with_fence": (f"{IDS}, array[1]", ["_id_idx on finished_", "Index Cond: (id = given.id)"]),
    "read_status": (ID, ["Index Scan using job_pkey on job", "_id_idx on finished_"]),
    "pick": (
        f"{ID}, 5000, array[5], null, null, clock_timestamp(), null, 500, null, true",
        ["Index Scan using job_pkey on job", "Merge Append", "Index Scan using finished_", "id_idx1 on finished_"],
    ),
    "pick_ids": (IDS, ["Index Scan using job_pkey on job", "_id_idx on finished_"]),
    "read_why": (f"{ID}, array['k'], 10000, 1000", ["Index Scan using job_pkey on job", "using job_for_claim on job"]),
    "read_states": (IDS, ["Index Scan using job_pkey on job", "_id_idx on finished_"]),
    "read_serving": ("", ["job_for_rescue"]),
    "read_queues": (
        "1000",
        [
            "Index Only Scan using job_for_claim on job",
            "Index Scan using job_for_claim",
            "job_for_promotion",
            "job_for_rescue",
        ],
    ),
    "read_running": ("100, 1000", ["job_for_rescue"]),
    "read_failed_kinds": ("3600, 2000", ["Merge Append", "id_idx1 on finished_"]),
    "read_due_recurring": ("array['k'], 100, '{}', '{}', '{}'", ["Index Scan using recurring_by_time on recurring"]),
    "ready_queues": ("'', 500", ["using job_for_claim", "job_for_claim"]),
    "look_at_jobs": (
        "null, 'k', null, null, null, 200, 51",
        ["Index Scan Backward using job_pkey on job", "Index Scan Backward using finished_", "id_idx1 on finished_"],
    ),
    "read_newest_names": ("1000", ["Index Scan Backward using job_pkey on job", "Index Scan Backward using finished_"]),
    "look_at_live": (
        "1, 'k', null, null, null, 200, 51, 5000",
        ["using job_for_claim", "using job_at_limits", "using job_for_promotion", "using job_for_rescue"],
    ),
    "count_states": ("'k', null, null, 3000", ["job_for_claim", "job_for_promotion", "job_for_rescue", "id_idx1 on"]),
    "count_all_states": (
        "10000, 3000",
        ["Index Only Scan using job_for_claim", "Index Only Scan using job_for_rescue", "id_idx1 on finished_"],
    ),
    "list_batches": ("null, 50, 500, null, null", ["batch_pkey", "job_of_batch", "_batch_state_idx on finished_"]),
    "list_batch_jobs": (f"{ID}, 50", ["job_of_batch", "_batch_state_idx on finished_"]),
    "read_belonging": (ID, ["job_pkey", "_id_idx on finished_"]),
    "list_beginning": (
        f"{ID}, {ID}, 50",
        ["Index Only Scan Backward using job_pkey on job", "Only Scan Backward using finished_"],
    ),
    "read_shown": (f"{ID}, 100000, 1000000", ["Index Scan using job_pkey on job", "_id_idx on finished_"]),
    "forget_audit": ("500", ["Index Scan using audit_pkey on audit"]),
    "read_audit": ("null, '', null, 50", ["Index Scan Backward using audit_pkey", "audit_of_subject"]),
}
FILL = "insert into asyncjobs.job (id, kind, state) select gen_random_uuid(), 'k', 1 from generate_series(1, 3000)"


async def plan(connection: asyncpg.Connection, name: str, arguments: str) -> str:
    await connection.execute(f"prepare {name} as {sql.read(name)}")
    lines = await connection.fetch(f"explain (costs off) execute {name}{f'({arguments})' if arguments else ''}")
    return "\n".join(line[0] for line in lines)


def check(text: str, expected: list[str]) -> None:
    for part in expected:
        assert part in text, text
    for table in ("job", "finished"):
        assert f"Seq Scan on {table}" not in text, text
    assert "Join Filter: (given" not in text, text


@pytest.mark.parametrize("name", [*HOT, *COLD])
async def test_on_empty_tables_that_were_never_analysed(shared_url: str, name: str) -> None:
    arguments, expected = {**HOT, **COLD}[name]
    session = await pinned(shared_url)
    check(await plan(session, name, arguments), expected)
    session.terminate()


@pytest.fixture(scope="module")
def prepared(databases: Databases) -> Iterator[Callable[[str], str]]:
    """Databases on which some statements were executed; gives the URL of one."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def prepare(statements: str) -> str:
            url = stack.enter_context(databases.another())
            asyncio.run(execute(url, statements))
            return url

        yield prepare


async def execute(url: str, statements: str) -> None:
    connection = await connect(url, is_lent=True)
    for statement in statements.split(";"):
        await connection.execute(statement)
    await connection.close()


@pytest.fixture
def vacuumed_url(prepared: Callable[[str], str], vacuumed: bool) -> str:
    """What autovacuum makes of a queue that keeps up: pages, and no rows in them."""
    emptied = f"{FILL}; delete from asyncjobs.job; {'vacuum ' if vacuumed else ''}analyze asyncjobs.job"
    return prepared(f"{emptied}; analyze asyncjobs.finished, asyncjobs.worker")


@pytest.mark.parametrize("vacuumed", [False, True])
@pytest.mark.parametrize("name", HOT)
async def test_on_tables_that_were_analysed_while_they_were_empty(vacuumed_url: str, name: str) -> None:
    arguments, expected = HOT[name]
    session = await pinned(vacuumed_url)
    check(await plan(session, name, arguments), expected)
    session.terminate()


@pytest.fixture
def backlog_url(prepared: Callable[[str], str]) -> str:
    return prepared(f"{FILL}; analyze asyncjobs.job")


@pytest.mark.parametrize("name", HOT)
async def test_on_a_backlog_that_was_analysed(backlog_url: str, name: str) -> None:
    arguments, expected = HOT[name]
    session = await pinned(backlog_url)
    check(await plan(session, name, arguments), expected)
    session.terminate()


@own
async def test_a_plan_that_was_made_while_the_queue_was_empty_drains_a_backlog(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    """The same by its work: a batch that touches few pages, of the many there are."""
    await connection.execute("alter table asyncjobs.job set (autovacuum_enabled = false)")
    worker = await make_worker(connection)
    await connection.execute(FILL)
    await connection.execute("delete from asyncjobs.job")
    await connection.execute("analyze asyncjobs.job")
    for _ in range(2):  # plans are made and cached
        await put(connection, 1)
        await jobs.finish(worker_session, [succeeded(job) for job in await claim(worker_session, worker)])
    await put(connection, 20_000)
    await worker_session.execute("set statement_timeout = '1s'")  # 20 ms as it is; 1.5 s by walking the primary key
    for _ in range(3):
        claimed = await claim(worker_session, worker, 500)
        assert len(claimed) == 500
        assert await jobs.finish(worker_session, sorted(succeeded(job) for job in claimed)) == 500


@own
async def test_what_ended_lately_is_counted_without_a_look_at_what_ended_before(
    worker_session: asyncpg.Connection, connection: asyncpg.Connection
) -> None:
    rows = """insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, finished_at, attempt, priority, state, crashes, kind,
                                              queue, args)
              select gen_random_uuid(), 1, current_date + 3, now(), now() - make_interval(days => $1), 1, 0, 4, 0, 'k', 'q', '{}'
              from generate_series(1, $2)"""
    await connection.execute(rows, 3, 40_000)
    await connection.execute(rows, 0, 10)
    await connection.execute("vacuum analyze asyncjobs.finished")
    text = await plan(worker_session, "read_finished_counts", "")
    assert "Bitmap Index Scan on finished_" in text and "finished_at_idx" in text, text
    assert await reading.finished_counts(connection) == {4: 10}
