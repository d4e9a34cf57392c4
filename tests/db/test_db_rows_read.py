"""What concerns a few jobs reads few rows, whatever the tables were like when the plans were made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
from db_rows import pinned

from asyncjobs.db import sql

MOST = 150
"""Rows of one table. Each operation is for one to three jobs, of 5,000."""
BATCH = "'00000000-0000-0000-0000-000000000007'"


def uuid(n: int) -> UUID:
    return UUID(f"018f0000-0000-7000-8000-{n:012d}")


def ids(*numbers: int) -> str:
    return f"array[{', '.join(map(repr, map(str, map(uuid, numbers))))}]::uuid[]"


def one(n: int) -> str:
    return f"'{uuid(n)}'::uuid"


READY, WAITING, NEXT, RUNNING, LIMITED, FAILED = 1, 2, 4, 5, 15, 5_001
"""A job in each state: by its number modulo 5, and those above 5,000 have ended. NEXT follows the one before it."""
FUNCTIONS = {
    "await_jobs": f"select asyncjobs.await_jobs({ids(READY, RUNNING)})",
    "live": f"select asyncjobs.live({ids(READY, RUNNING)})",
    "states": f"select asyncjobs.states({ids(READY, FAILED)})",
    "status": f"select asyncjobs.status({one(READY)})",
    "follow": f"select asyncjobs.follow({one(NEXT - 1)}, 4, '1', null, 7)",
    "follow, a large result": f"select asyncjobs.follow({one(NEXT - 1)}, 4, repeat('x', 600), null, 7)",
    "follow, discarded": f"select asyncjobs.follow({one(NEXT - 1)}, 6, null, null, 7)",
    "move": f"select asyncjobs.move({ids(READY, WAITING)}, array['why', 'why'], 7, 7)",
    "cancel": f"select asyncjobs.cancel({one(READY)})",
    "cancel, running": f"select asyncjobs.cancel({one(RUNNING)})",
    "cancel_each": f"select asyncjobs.cancel_each({ids(READY, RUNNING)})",
    "discard": f"select asyncjobs.discard({ids(READY)})",
    "discard, failed": f"select asyncjobs.discard({ids(FAILED)})",
    "retry": f"select asyncjobs.retry({ids(READY)}, forced => true)",
    "retry, scheduled": f"select asyncjobs.retry({ids(NEXT)}, forced => true)",
    "retry, failed": f"select asyncjobs.retry({ids(FAILED, FAILED + 1)})",
    "tidy_links": f"select asyncjobs.tidy_links({one(0)}, 10, 7)",
    "emit": "select asyncjobs.emit('nobody waits')",
    "emit, awaited": "select asyncjobs.emit('2')",
    "begin_wait": f"select asyncjobs.begin_wait({one(RUNNING)}, 1, 1, 'step', 'event', '', 5, null)",
    "enqueue_again": f"select asyncjobs.enqueue_again({one(READY)}, 'k', 'q', 0, null, null, '{{}}', null)",
    "enqueue_within": f"select asyncjobs.enqueue_within({one(RUNNING)}, 1, '[]')",
    "enqueue_ordered": """select asyncjobs.enqueue_ordered(
        gen_random_uuid(), 'k', 'q', 0, null, null, '{}', null,
        '{"unique": {"key": "u1", "window": 5, "conflict": "replace"}, "limits": [{"key": "l 1", "name": "l", "most": 1}]}')""",
    "placeless": """select asyncjobs.placeless('[{"key": "u1", "queue": "q", "conflict": "skip", "window": 5}]')""",
    "settle_batches": f"select asyncjobs.settle_batches(array[{BATCH}]::uuid[])",
    "admit": "select asyncjobs.admit()",
    "pass_on": "select asyncjobs.pass_on(array['l 21', 'l 31'])",
    "take_token": "select asyncjobs.take_token('r2 1', 1, 1)",
    "end_rest": f"select asyncjobs.end_rest({one(NEXT - 1)}, 6, 7, 'why')",
    "goes_along": f"select asyncjobs.goes_along({one(NEXT - 1)})",
    "progress": f"select asyncjobs.progress({ids(READY, RUNNING)})",
    "stream": f"select asyncjobs.stream({one(RUNNING)}, 0, 100)",
    "ended": f"select asyncjobs.ended({ids(FAILED)})",
    "fire": f"""select asyncjobs.fire('[{{"name": "s1", "revision": 1, "until": "2000-01-01T00:00:00Z",
        "next_at": "2200-01-01T00:00:00Z", "ticks": [{{"tick": "2000-01-01T00:00:00Z", "id": "{uuid(20_000)}"}}]}}]')""",
}
STATEMENTS: dict[str, list[Any]] = {
    "await_jobs": [[uuid(READY)]],
    "count_along": [[uuid(READY)]],
    "begin_stream": [uuid(RUNNING), 1],
    "enqueue_then": [[uuid(FAILED), uuid(FAILED + 1)], [1, 1], ["[]", "[]"]],
    "finish": [[uuid(RUNNING), uuid(LIMITED)], [1, 1], [], [], [], [], [], 7],
    "leave_limits": [[uuid(RUNNING), uuid(LIMITED)], [1, 1]],
    "list_batches": [None, 10, 100, None, None],
    "lock_running": [[uuid(RUNNING)], [1]],
    "pick_ids": [[uuid(READY), uuid(FAILED)]],
    "read_belonging": [uuid(READY)],
    "read_states": [[uuid(READY), uuid(FAILED)]],
    "read_steps": [uuid(RUNNING)],
    "record_step": [uuid(RUNNING), 1, 1, "step", "started", None, None, None, 0.1],
    "record_steps": [[uuid(RUNNING)], [1], [1], ["step"], ["started"], [None], [None], [None], [0.1], [None], [None]],
    "reschedule": [[uuid(RUNNING)], [1], *([] for _ in range(11))],
    "rescheduled_with_fence": [[uuid(RUNNING)], [1]],
    "send_items": [[uuid(RUNNING)], [1], [uuid(RUNNING)], [7], [0.1], ["1"]],
    "show_progress": [[uuid(RUNNING)], [1], [1.0], [2.0], [""], [0.1]],
    "tell_waits": [[uuid(RUNNING)], [1], [1], [uuid(READY)], [False]],
    "finished_with_fence": [[uuid(FAILED)], [1]],
    "forget_batches": [0.0, 2],
    "forget_limits": [5],
    "forget_live": [100],
    "forget_steps": [uuid(RUNNING), 1],
    "read_awaited": [uuid(RUNNING), 10],
    "read_chain": [uuid(NEXT), 10],
    "read_finished": [[uuid(FAILED)]],
    "failed_children": [[uuid(FAILED)]],
    "read_limit": [uuid(READY), 10],
    "read_live": [[uuid(READY)]],
    "read_returned": [[uuid(RUNNING)], [1]],
    "read_status": [uuid(READY)],
    "read_waiters": [[uuid(RUNNING)]],
    "read_why": [uuid(NEXT), ["k"], 10, 10],
    "return_to_limits": [[uuid(RUNNING), uuid(LIMITED)], [1, 1]],
}
ROWS = """
insert into asyncjobs.job (id, kind, queue, state, run_at, worker, fence, unique_key, unique_until, limit_key, limit_keys, limit_kind)
select ('018f0000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'k', 'q', (array[2, 1, 3, 1, 0])[1 + n % 5],
       case when n % 5 = 4 then 'infinity' else now() end, case when n % 5 = 0 then gen_random_uuid() end,
       case when n % 5 = 0 then 1 else 0 end, case when n % 5 = 1 then 'u' || n end, case when n % 5 = 1 then 0 end,
       case when n % 5 = 1 then 'l ' || n end, case when n % 5 = 1 then array['l ' || n] end, case when n % 5 = 1 then 1 end
from generate_series(1, 5000) as n;
insert into asyncjobs.link (job, after)
select id, ('018f0000-0000-7000-8000-' || lpad((right(id::text, 12)::int - 1)::text, 12, '0'))::uuid from asyncjobs.job where state = 0;
insert into asyncjobs.step (job, n, attempt, started_at, name, state, event, key)
select id, 1, 1, now(), 'step', 'waiting', right(id::text, 12)::int::text, '' from asyncjobs.job where state = 3;
insert into asyncjobs.finished (id, fence, enqueued_at, expires_on, attempt, priority, state, crashes, kind, queue, args, batch)
select ('018f0000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 1, now(), current_date + 7, 1, 0, 5, 0, 'k', 'q', '{}',
       case when n > 5010 then '00000000-0000-0000-0000-000000000007'::uuid end
from generate_series(5001, 10000) as n;
insert into asyncjobs.limits (name, most) values ('l', 1);
insert into asyncjobs.limits (name, spacing, burst) select 'r' || n, 60, 1 from generate_series(1, 1000) as n;
insert into asyncjobs.limit_key (key, name) select 'l ' || n, 'l' from generate_series(1, 5000) as n;
insert into asyncjobs.limit_key (key, name, next_start) select 'r1 ' || n, 'r1', now() + interval '1 hour' from generate_series(1, 5000) as n;
insert into asyncjobs.limit_note (key) values ('l 1'), ('r1 1');
insert into asyncjobs.limit_note (key, started_at) values ('r1 1', now());
update asyncjobs.job set limit_key = 'r1 1', limit_keys = array['r1 1'], limit_kind = 2 where limit_key = 'l 11';
insert into asyncjobs.limit_pass (key, job, seq) select 'l 1', id, seq from asyncjobs.job where limit_key = 'l 1';
insert into asyncjobs.limit_pass (key, job, seq) select 'l ' || n, gen_random_uuid(), n from generate_series(1001, 5000) as n;
update asyncjobs.job set limit_key = 'l 42', limit_keys = array['l 41', 'l 42'], limit_kind = 1
where id in ('018f0000-0000-7000-8000-000000000002', '018f0000-0000-7000-8000-000000000015');
insert into asyncjobs.live_job (job, done) select id, 1 from asyncjobs.job;
insert into asyncjobs.stream_item (job, n, attempt, sent_at, value) select id, 1, 1, now(), '1' from asyncjobs.job;
insert into asyncjobs.recurring (name, kind, schedule, next_at)
select 's' || n, 'k', '* * * * *', now() from generate_series(1, 1000) as n;
insert into asyncjobs.recurring_tick (name, tick, came_to)
select 's1', '2001-01-01'::timestamptz + make_interval(days => n), 'skipped' from generate_series(1, 100) as n
union all
select 's2', '2001-01-01'::timestamptz + make_interval(days => n), 'skipped' from generate_series(1, 2000) as n;
insert into asyncjobs.batch (id, description) select gen_random_uuid(), '' from generate_series(1, 2000);
insert into asyncjobs.batch (id, description) values ('00000000-0000-0000-0000-000000000007', '');
insert into asyncjobs.batch (id, description, settled, finished_at)
select ('00000000-0000-0000-0001-00000000000' || n)::uuid, '', true, '2001-01-01' from generate_series(1, 4) as n;
update asyncjobs.live_job set gone = true where job in ('018f0000-0000-7000-8000-000000000001', '018f0000-0000-7000-8000-000000000006')"""


async def reads(connection: asyncpg.Connection) -> dict[str, int]:
    """Rows read in this transaction, and in earlier ones that were not reported yet, by table."""
    found = await connection.fetch(
        "select relname, coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) as read from pg_stat_xact_user_tables "
        "where schemaname = 'asyncjobs'"
    )
    return {row["relname"]: row["read"] for row in found}


async def read_by(connection: asyncpg.Connection, run: Callable[[], Awaitable[Any]]) -> dict[str, int]:
    """Run something without an effect; the tables of which it reads more than `MOST` rows."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        before = await reads(connection)
        await run()
        after = await reads(connection)
    finally:
        await transaction.rollback()
    return {table: n - before.get(table, 0) for table, n in after.items() if n - before.get(table, 0) > MOST}


async def test_plans_made_on_tables_that_were_analysed_while_they_were_empty_walk_none_of_them(
    database_url: str,
) -> None:
    """A quick queue is empty whenever it is analysed, and its table has no pages: to read all of it costs nothing then."""
    session, control = await pinned(database_url), await asyncpg.connect(database_url)
    try:
        tables = "select relname from pg_class where relnamespace = 'asyncjobs'::regnamespace and relkind = 'r'"
        for (table,) in await control.fetch(tables):
            await control.execute(f"alter table asyncjobs.{table} set (autovacuum_enabled = false)")
            await control.execute(f"vacuum analyze asyncjobs.{table}")
        operations = {name: partial(session.execute, call) for name, call in FUNCTIONS.items()}
        for name, arguments in STATEMENTS.items():
            operations[f"{name}.sql"] = partial((await session.prepare(sql.read(name))).fetch, *arguments)
        for run in operations.values():  # plans are made, and cached
            await read_by(session, run)
        await control.execute(ROWS)
        walks = {name: found for name, run in operations.items() if (found := await read_by(session, run))}
    finally:
        session.terminate()
        control.terminate()
    assert walks == {}, "\n".join(f"{name}: {found}" for name, found in walks.items())
