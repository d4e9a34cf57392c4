"""Rows that somebody made or edited by hand: each harms only itself, whatever is in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from client_jobs import double, live

from asyncjobs import AsyncJobs, InvalidArguments, enqueue_all, job
from tests.support.asking import until
from tests.support.processes import PATIENCE

GOOD = 20


@job(kind="bad.anything")
async def anything(value: Any = None) -> str:
    return str(value)


async def put(connection: asyncpg.Connection, **columns: str) -> UUID:
    """Insert a row by hand; each column is an SQL expression."""
    columns = {"id": "gen_random_uuid()", "kind": "'client.double'", "queue": "'numbers'", **columns}
    return await connection.fetchval(
        f"insert into asyncjobs.job ({', '.join(columns)}) values ({', '.join(columns.values())}) returning id"
    )


ARGUMENTS = {
    "a string": "'\"text\"'",
    "an array": "'[1, 2]'",
    "null": "'null'",
    "a number": "'5'",
    "nothing": "''",
    "no JSON": "'{number: 1'",
    "another type": """'{"number": "many"}'""",
    "a missing argument": "'{}'",
    "an argument too many": """'{"number": 1, "more": 2}'""",
    "a number past what a float holds": """'{"number": 1e400}'""",
    "an integer of thirty digits": """'{"number": 123456789012345678901234567890}'""",
    "NUL": """'{"number": "a\\u0000"}'""",
    "a lone surrogate": """'{"number": "\\ud800"}'""",
    "nested 2,000 deep": """'{"number": ' || repeat('[', 2000) || repeat(']', 2000) || '}'""",
    "nested 100,000 deep": """'{"number": ' || repeat('[', 100000) || repeat(']', 100000) || '}'""",
    "10 MB": """'{"number": "' || repeat('x', 10000000) || '"}'""",
}
ANYTHING = {
    "1e400": """'{"value": 1e400}'""",
    "2,000 deep": """'{"value": ' || repeat('[', 2000) || repeat(']', 2000) || '}'""",
    "a lone surrogate": """'{"value": "\\ud800"}'""",
}


async def test_arguments_of_every_wrong_kind_fail_those_jobs_alone(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_jobs():
        good = [double(number) for number in range(GOOD)]
        await enqueue_all(good[:10])
        bad = {what: await put(connection, args=sql) for what, sql in ARGUMENTS.items()}
        bad |= {
            f"untyped: {what}": await put(connection, kind="'bad.anything'", args=sql) for what, sql in ANYTHING.items()
        }
        await enqueue_all(good[10:])
    pools = [{"queues": ["*"], "concurrency": 100}]  # one claim takes all
    async with make_jobs(pools=pools, version_grace=0).running() as jobs:
        assert await asyncio.gather(*(each.result(timeout=20) for each in good)) == [n * 2 for n in range(GOOD)]
        await until(connection, "select count(*) = 0 from asyncjobs.job")
        for what, job_id in bad.items():
            status = await jobs.status(job_id)
            assert (status.state, status.attempt, status.crashes) == ("failed", 1, 0), what
            assert status.errors[0].type == "asyncjobs.exceptions.InvalidArguments", what
            assert len(status.errors[0].message) < 1_000, what
    assert max(len(record.getMessage()) for record in caplog.records) < 2_000


async def test_an_integer_of_thirty_digits_arrives_exactly_or_not_at_all(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    number = 123456789012345678901234567890
    made = await put(connection, kind="'bad.anything'", args=f"""'{{"value": [{number}]}}'""")
    assert await (await jobs.get(made)).result(timeout=PATIENCE) == f"[{number}]"


ROWS: dict[str, dict[str, str]] = {
    "due in the year 20000": {"state": "0", "run_at": "'20000-01-01'"},
    "due never": {"state": "0", "run_at": "'infinity'"},
    "ready since for ever": {"run_at": "'-infinity'", "enqueued_at": "'-infinity'"},
    "ready since before Christ": {"run_at": "'0044-03-15 BC'", "enqueued_at": "'0044-03-15 BC'"},
    "enqueued in the year 20000": {"enqueued_at": "'20000-01-01'", "started_at": "'20000-01-01'"},
    "the greatest attempt": {"attempt": "2147483647"},
    "the greatest crashes": {"crashes": "32767"},
    "a negative attempt": {"attempt": "-5", "crashes": "-5"},
    "running for nobody": {"state": "2"},
    "running for a worker that never was": {"state": "2", "worker": "gen_random_uuid()", "fence": "5"},
    "running and crashed very often": {"state": "2", "worker": "gen_random_uuid()", "crashes": "32767"},
    "waiting for nothing": {"state": "3"},
    "ready with somebody's fence": {"fence": "12345", "worker": "gen_random_uuid()"},
    "errors that are none": {"errors": "E'junk\\n{}\\n[1]'"},
    "no kind anybody knows": {"kind": "''"},
    "a kind with a line break": {"kind": "E'a\\nb\\x1b[31m'"},
    "a queue that is no name": {"queue": "'\"; drop table asyncjobs.job; --'"},
    "a queue of 9,000 letters": {"queue": "repeat('x', 9000)"},
    "due now, in a queue of 9,000 letters": {"queue": "repeat('y', 9000)", "state": "0", "run_at": "now()"},
    "rescued, in a queue of 9,000 letters": {"queue": "repeat('z', 9000)", "state": "2"},
    "a nil id": {"id": "'00000000-0000-0000-0000-000000000000'"},
}
RUNS = {
    *("ready since for ever", "ready since before Christ", "enqueued in the year 20000", "the greatest attempt"),
    *("a negative attempt", "running for nobody", "running for a worker that never was"),
    *("ready with somebody's fence", "errors that are none"),
    *("a queue that is no name", "a queue of 9,000 letters", "due now, in a queue of 9,000 letters"),
    *("rescued, in a queue of 9,000 letters", "a nil id", "waiting for nothing"),
}
CRASHED_TOO_OFTEN = {"the greatest crashes", "running and crashed very often"}


async def test_rows_with_odd_values_hold_nobody_up(
    make_jobs: Callable[..., AsyncJobs], connection: asyncpg.Connection
) -> None:
    async with make_jobs():
        odd = {what: await put(connection, args="""'{"number": 1}'""", **columns) for what, columns in ROWS.items()}
        good = [double(number) for number in range(GOOD)]
        await enqueue_all(good[:10])
        await enqueue_all(each.set(wait=0.3) for each in good[10:])
    async with make_jobs(dispatcher={"polling_interval": 0.2}).running() as jobs:
        assert await asyncio.gather(*(each.result(timeout=20) for each in good)) == [n * 2 for n in range(GOOD)]
        for what in RUNS | CRASHED_TOO_OFTEN:
            found = "select state from asyncjobs.finished where id = $1"
            assert await until(connection, found, odd[what]) == (4 if what in RUNS else 5), what
        for what in ROWS.keys() - RUNS - CRASHED_TOO_OFTEN:
            assert not (await jobs.status(odd[what])).final, what
        assert len(await connection.fetch("select from asyncjobs.job")) == len(ROWS) - len(RUNS) - len(
            CRASHED_TOO_OFTEN
        )


@pytest.mark.parametrize(
    "columns",
    [
        {"state": "4"},
        {"state": "-1"},
        {"state": "null"},
        {"kind": "null"},
        {"queue": "null"},
        {"args": "null"},
        {"id": "null"},
        {"priority": "null"},
        {"priority": "40000"},
        {"attempt": "null"},
        {"fence": "null"},
        {"run_at": "null"},
        {"args": "repeat('x', 16777217)"},
    ],
)
async def test_the_table_refuses_what_no_job_can_be(connection: asyncpg.Connection, columns: dict[str, str]) -> None:
    with pytest.raises(asyncpg.PostgresError) as raised:
        await put(connection, **columns)
    assert raised.value.sqlstate in ("23514", "23502", "22003")
    assert await live(connection) == 0


async def test_awaited_rows_of_the_history_that_are_odd_fail_their_waiter_alone(
    jobs: AsyncJobs, connection: asyncpg.Connection
) -> None:
    made = [await double(number).enqueue() for number in range(3)]
    for each in made:
        await each
    await connection.execute("update asyncjobs.finished set state = 99 where id = $1", made[0].id)
    await connection.execute("update asyncjobs.finished set result = '[nonsense' where id = $1", made[1].id)
    ends = await asyncio.gather(*(each.result(timeout=PATIENCE) for each in made), return_exceptions=True)
    assert [type(end) for end in ends[:2]] == [ValueError, InvalidArguments]
    assert ends[2] == 4
