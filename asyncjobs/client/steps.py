"""Steps of `perform_now`: their records and isolated steps, without a worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from asyncjobs.db.sessions import DEADLINE
from asyncjobs.db.transactions import Transaction, isolated_sessions
from asyncjobs.records.step_records import ENDED, Record
from asyncjobs.values import codec

T = TypeVar("T")


def stored_steps(records: Sequence[Record]) -> str:
    """Return records as the database stores the steps of a job, as a JSON array."""
    now = datetime.now(UTC)
    return codec.dumps(
        [
            {
                "n": record.n,
                "name": record.name,
                "state": record.state,
                "attempt": 1,
                "started_at": now,
                "finished_at": now if record.state in ENDED else None,
                "result": record.result,
                "cursor": record.cursor,
                "children": record.children,
            }
            for record in records
        ]
    )


async def in_transaction(url: str, body: Callable[[Any], Awaitable[T]], *, through_sqlalchemy: bool) -> T:
    """Run `body` in a transaction; return its result, or raise its error, an error of asyncpg untranslated.

    The connection is its own: a user's code may change the session in ways that would affect the client's statements.
    """
    sessions = isolated_sessions(url, size=1, deadline=DEADLINE)
    transaction = Transaction(body, sessions=sessions, through_sqlalchemy=through_sqlalchemy)
    try:
        await transaction.run_on(sessions)
    finally:
        sessions.close()
    if transaction.error is not None:
        raise transaction.error
    return cast("T", transaction.value)
