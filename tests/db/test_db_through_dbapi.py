"""Statements on a cursor of psycopg: what each login enqueues and reads, and what it is told."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from asyncjobs import PermissionDenied, SchemaMismatch
from asyncjobs.db import through_dbapi
from tests.support.roles import logins


@pytest.fixture
def as_role(database_url: str) -> dict[str, str]:
    return logins(database_url)


@pytest.fixture
def empty(database_url: str) -> Iterator[psycopg.Cursor]:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("alter schema asyncjobs rename to elsewhere")
        yield cursor
        connection.rollback()


def put(cursor: psycopg.Cursor, args: str = '{"a": 1}') -> object:
    return through_dbapi.enqueue(cursor, "k", args, queue="q", priority=3, run_at=None)


@pytest.mark.parametrize(
    ("login", "way", "args", "result"),
    [
        ("runner", "read_status", '{"a": 1}', '"done"'),
        ("looker", "read_status_without_arguments", None, '"done"'),
        ("web", "read_status_by_function", None, '"done"'),
    ],
)
def test_each_login_reads_what_it_may(
    as_role: dict[str, str], database_url: str, login: str, way: str, args: str | None, result: str
) -> None:
    with psycopg.connect(database_url) as owner, owner.cursor() as cursor:
        job = put(cursor)
        cursor.execute(
            "with gone as (delete from asyncjobs.job where id = %s returning *) insert into asyncjobs.finished "
            "(id, fence, expires_on, enqueued_at, attempt, priority, state, crashes, kind, queue, args, result) "
            "select id, 1, current_date + 1, enqueued_at, 1, priority, 4, 0, kind, queue, args, '\"done\"' from gone",
            [job],
        )
        owner.commit()
    with psycopg.connect(as_role[login]) as connection, connection.cursor() as cursor:
        assert through_dbapi.status_way(cursor) == way
        row = through_dbapi.read_status(cursor, job, way)
        assert row is not None
        assert (row.id, row.state, row.kind, row.queue, row.priority, row.args, row.result) == (
            job,
            4,
            "k",
            "q",
            3,
            args,
            result,
        )
        assert through_dbapi.read_status(cursor, type(job)(int=0), way) is None


def test_who_enqueues_may_count_and_others_are_told_what_is_missing(as_role: dict[str, str]) -> None:
    with psycopg.connect(as_role["web"]) as connection, connection.cursor() as cursor:
        assert through_dbapi.depth(cursor, "q", 10) == 0
        put(cursor)
        assert through_dbapi.depth(cursor, "q", 10) == 1
        connection.rollback()
    with psycopg.connect(as_role["looker"]) as connection, connection.cursor() as cursor:
        with pytest.raises(PermissionDenied, match="takes the role asyncjobs_enqueuer"):
            put(cursor)


def test_without_a_schema_the_remedy_is_said(empty: psycopg.Cursor) -> None:
    with pytest.raises(SchemaMismatch, match="asyncjobs db migrate"):
        put(empty)


def test_other_errors_are_the_drivers_own(database_url: str) -> None:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="args must be a JSON object"):
            put(cursor, "[]")
