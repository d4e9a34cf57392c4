"""What can name a queue is said in Python and in SQL: the same of both."""

from __future__ import annotations

import asyncpg
import pytest

from asyncjobs.checks import names


@pytest.mark.parametrize(
    "queue", ["a", "A.b:c-d_9", ".x", ":", "x" * 64, "", "x" * 65, "-a", "a b", "a\n", "é", "a*", "٣", "a/b"]
)
async def test_sql_takes_a_queue_that_python_takes_and_no_other(connection: asyncpg.Connection, queue: str) -> None:
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("select asyncjobs.enqueue('names.agree', queue => $1)", queue)
        taken = True
    except asyncpg.DataError:
        taken = False
    finally:
        await transaction.rollback()
    assert taken is names.is_queue(queue)
