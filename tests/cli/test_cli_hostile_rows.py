"""What people look at, whatever the tables hold that their columns allow: no traceback, and every other row is shown."""

import asyncio
import contextlib
import json
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.support.sweeps import slowly

TIMES = ("infinity", "-infinity", "4000-01-01 BC", "200000-01-01", "0001-01-01", "9999-12-31 23:59:59.999999")
DEEP = "[" * 20_000 + "]" * 20_000
TEXTS = (
    "", "null", "5", "[5]", "[null]", '{"a": [1]}', '"x"', "no json", '{"attempt": "x"}', '{"attempt": 1e999}', "NaN", DEEP,
    '{"attempt": 1, "at": "infinity", "type": [], "message": {}, "traceback": 7}', "\x1b[31m\u202e\x9b\n\r", "9" * 5_000,
    '[{"n": 1}]', '[{"n": "x", "name": 5, "state": [], "attempt": null, "started_at": "infinity"}]', "x" * 100_000,
    '[{"n": 1, "name": "a", "state": "running", "attempt": 1, "started_at": "200000-01-01T00:00:00+00:00", "children": "[5]"}]',
    '[{"n": 1, "name": "a", "state": "running", "attempt": 1, "started_at": "0044-03-15T00:00:00+00:00 BC", "result": "["}]',
    '{"jobs": 5, "stuck": 7, "blocks": [[1]], "pools": 5, "kinds": 7, "host": [], "pid": {}}',
    '{"pools": [{"queues": 5, "concurrency": []}], "kinds": [[]], "stuck": [{"id": 5, "since": 1e999}], "pid": 1e400}',
    '{"blocks": {"a": [1e999, 1e999]}, "blocked": [{"kind": 1, "longest": 1e999, "times": 1e999}], "draining": []}',
    '{"blocks": [{"kind": "a", "times": 1e308, "longest": 1e308}], "stuck": [5], "pools": {"queues": 1}}',
)  # fmt: skip
VALUES = {
    "timestamp with time zone": TIMES,
    "text": TEXTS,
    "json": TEXTS,
    "jsonb": TEXTS,
    "smallint": ("-32768", "32767", "99", "0"),
    "integer": ("-2147483648", "2147483647"),
    "bigint": ("-9223372036854775808", "9223372036854775807"),
    "interval": ("0", "-1 year", "178000000 years", "infinity", "-infinity"),
    "boolean": ("true", "false"),
    "uuid": ("00000000-0000-0000-0000-000000000000",),
    "date": ("infinity", "4000-01-01 BC", "9999-12-31"),
}
"""By the type of a column; what a column does not allow is not there."""
ROWS = {
    "job": "insert into asyncjobs.job (id, kind, state) values ($1, 'hostile', 1)",
    "finished": "insert into asyncjobs.finished (id, fence, expires_on, enqueued_at, finished_at, attempt, priority, state, crashes, kind,"
    " queue, args) values ($1, 1, current_date, now(), now(), 1, 0, 5, 0, 'hostile', 'q', '{}')",
    "step": "insert into asyncjobs.step (job, n, name, state, attempt, started_at) values ($1, 1, 'a', 'running', 1, now())",
    "event": "insert into asyncjobs.event (name, key) values ('e' || $1::uuid::text, 'k')",
    "worker": "insert into asyncjobs.worker (id, backend_pid, backend_start, about, lease)"
    " values ($1, 1, now(), '{}', interval '1 hour')",
}
KEYS = {"step": "job", "event": "name"}


async def write(connection: asyncpg.Connection, table: str, column: str, kind: str, value: str, row: object) -> None:
    statement = f"update asyncjobs.{table} set {column} = $1::text::{kind} where {KEYS.get(table, 'id')} = $2"
    with contextlib.suppress(asyncpg.PostgresError):  # the column does not allow it
        await connection.execute(statement, value, row)


async def fill(url: str, table: str) -> list[UUID]:
    """Make rows of `table` of which each column has another value in each; return the jobs that they are of."""
    connection = await asyncpg.connect(url)
    made = []
    try:
        columns = await connection.fetch(
            "select column_name, data_type from information_schema.columns where table_schema = 'asyncjobs'"
            " and table_name = $1 and is_generated = 'NEVER'",
            table,
        )
        columns = [(column, kind) for column, kind in columns if column not in (KEYS.get(table, "id"), "expires_on")]
        for turn in range(len(TEXTS)):
            row = uuid4()
            made.append(row)
            if table == "step":
                await connection.execute(ROWS["job"], row)
                await connection.execute("update asyncjobs.job set progress = '{}' where id = $1", row)
            await connection.execute(ROWS[table], row)
            for column, kind in columns:
                if kind not in VALUES:
                    continue  # of arrays nothing is shown
                values = VALUES[kind]
                value = values[turn % len(values)]
                if (
                    column == "state" and kind == "smallint" and turn % 6
                ):  # a state that is none is told in one way alone
                    value = str(turn % 4 + (4 if table == "finished" else 0))
                await write(connection, table, column, kind, value, f"e{row}" if table == "event" else row)
    finally:
        await connection.close()
    return made


@pytest.mark.parametrize(
    "each", [pytest.param(True, id="in each way", marks=pytest.mark.slow), pytest.param(False, id="in turn")]
)
@pytest.mark.parametrize("table", ["job", "event", "worker", *slowly("finished", "step")])
def test_no_row_keeps_anybody_from_looking(cli, url, table, each):
    ids = asyncio.run(fill(url, table))
    assert len(ids) > 3
    for words in (["jobs", "list", "--limit", "1000"], ["status"], ["queues", "list"], ["top"]):
        cli(*words)
        printed = cli(*words, "--json").stdout
        json.loads(printed)
        assert not {"\x1b", "\x9b", "\u202e"} & set(printed)
    if table in ("event", "worker"):
        return
    listed = {row["id"] for row in json.loads(cli("jobs", "list", "--limit", "1000", "--json").stdout)}
    assert {str(row) for row in ids} - listed == set()
    ways = [["jobs", "show"], ["jobs", "show", "--json"]]
    for number, row in enumerate(ids):
        for words in ways if each else [ways[number // 5 % 2]]:
            cli(*words, row)
        if (
            table == "job" and (each or number // 5 % 2)
        ) or number % 5 == 0:  # of others than live jobs little is said there
            cli("jobs", "why", row)
