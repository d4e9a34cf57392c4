"""A connection that is ended in the middle of a statement, and an error that only looks like it."""

from __future__ import annotations

import asyncpg
import pytest

from asyncjobs.db.sessions import Sessions
from asyncjobs.exceptions import DatabaseUnavailable


async def test_a_connection_ended_between_two_messages_of_a_statement_is_a_database_unavailable(
    url: str,
) -> None:
    async def trips(connection: asyncpg.Connection) -> None:
        connection.terminate()
        connection._protocol.bind_execute()  # None by now, as asyncpg's own statement finds it

    sessions = Sessions(url, size=1, name="test")
    with pytest.raises(DatabaseUnavailable) as raised:
        await sessions.run(trips)
    assert raised.value.begun
    sessions.close()


async def test_an_attribute_error_of_an_operation_on_a_living_connection_stays_what_it_is(url: str) -> None:
    async def broken(connection: asyncpg.Connection) -> None:
        raise AttributeError("a mistake")

    sessions = Sessions(url, size=1, name="test")
    with pytest.raises(AttributeError, match="a mistake"):
        await sessions.run(broken)
    sessions.close()
