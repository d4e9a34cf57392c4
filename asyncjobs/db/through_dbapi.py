"""Statements on a cursor of the DB-API, such as Django's: in whatever transaction its connection is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, Protocol
from uuid import UUID

from asyncjobs.db import sql
from asyncjobs.db.errors import ENQUEUER, SCHEMA_MISSING, translated
from asyncjobs.db.jobs import STATUS_WAYS
from asyncjobs.db.rows import StatusRow

_PERMISSION_DENIED = "42501"


class Cursor(Protocol):
    """A cursor of psycopg or psycopg2, or what stands before one."""

    def execute(self, query: str, vars: dict[str, Any]) -> Any:
        """Run a statement, whose parameters are named."""

    def fetchone(self) -> Any:
        """Return the next row; None: there is none."""


def enqueue(cursor: Cursor, kind: str, args: str, *, queue: str, priority: int, run_at: datetime | None) -> UUID:
    """Insert one job by the SQL function, and notify when the cursor's transaction commits; return the job's id.

    Raises:
        SchemaMismatch: There is no schema, or it is older.
        PermissionDenied: This login may not enqueue.
    """
    with _saying_what_to_do():
        return _id(_row(cursor, "enqueue_by_name", kind, args, queue, priority, run_at, None, None, None)[0])


def depth(cursor: Cursor, queue: str, most: int) -> int:
    """Count the ready jobs of a queue, at most `most`."""
    with _saying_what_to_do():
        return int(_row(cursor, "read_depth", queue, most)[0])


def status_way(cursor: Cursor) -> str:
    """Return which of `STATUS_WAYS` this login may use: a statement that is refused would end its transaction."""
    with _saying_what_to_do():
        reads_arguments, reads = _row(cursor, "read_status_access")
    return STATUS_WAYS[0 if reads_arguments else 1 if reads else 2]


def read_status(cursor: Cursor, job_id: UUID, way: str) -> StatusRow | None:
    """Return the row of one job as one of `STATUS_WAYS` reads it, or None."""
    with _saying_what_to_do():
        row = _row(cursor, way, str(job_id))
        if row is None:
            return None
        found = StatusRow(*row)._replace(id=job_id)
        if way == STATUS_WAYS[2]:
            ended = _row(cursor, "read_finished_by_function", [str(job_id)])
            found = found._replace(result=None if ended is None else ended[3])
        return found


def _row(cursor: Cursor, name: str, *values: Any) -> Any:
    cursor.execute(_statement(name), {f"p{n}": value for n, value in enumerate(values, 1)})
    return cursor.fetchone()


@cache
def _statement(name: str) -> str:
    """Return the text of a statement with the DB-API's parameters in place of PostgreSQL's."""
    return re.sub(r"\$(\d+)", r"%(p\1)s", sql.read(name).replace("%", "%%"))


def _id(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


@contextmanager
def _saying_what_to_do() -> Iterator[None]:
    """Translate errors that have a remedy; others, such as those of a lost connection, are the application's own."""
    try:
        yield
    except Exception as error:
        cause = error.__cause__ or error  # Django wraps the driver's error
        state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
        if state in SCHEMA_MISSING or state == _PERMISSION_DENIED:
            raise translated(cause, role=ENQUEUER) from error
        raise
