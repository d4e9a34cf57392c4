"""Where a job's columns are written more than once, for speed: the texts name the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

import asyncjobs.db

ROOM = Path(asyncjobs.db.__file__).parent
INSERT = re.compile(r"insert into asyncjobs\.(\w+)(?: as \w+)? \(([^)]*)\)")


def inserts(table: str) -> Iterator[tuple[str, set[str]]]:
    """The columns that each statement and function names which inserts into a table, by its file's name."""
    for path in sorted([*(ROOM / "sql").glob("*.sql"), *(ROOM / "functions").glob("*.sql")]):
        for name, columns in INSERT.findall(path.read_text()):
            if name == table:
                yield path.stem, {column.strip() for column in columns.split(",")}


async def columns_of(connection: asyncpg.Connection, table: str) -> set[str]:
    rows = await connection.fetch(
        "select attname from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped",
        f"asyncjobs.{table}",
    )
    return {row["attname"] for row in rows}


async def test_whatever_moves_a_job_to_the_history_takes_all_of_it_along(connection: asyncpg.Connection) -> None:
    found = dict(inserts("finished"))
    assert found.keys() == {"finish", "move"}
    everything = await columns_of(connection, "finished")
    assert found["finish"] == everything
    assert found["move"] == everything - {"result"}  # of a job that did not run


NEW = {"id", "kind", "queue", "priority", "run_at", "state", "args", "expires_at"}
"""What a job is enqueued with; of those that are due at once the database knows the rest."""


LABELS = {"labels", "searchable"}
"""What few jobs have; those that were sent before, and have it, are enqueued in order."""


@pytest.mark.parametrize("name", ["enqueue_many", "enqueue_rows", "enqueue_once"])
def test_whoever_enqueues_jobs_that_may_be_due_later_names_all_that_a_new_one_has(name: str) -> None:
    assert dict(inserts("job"))[name] == NEW | (set() if name == "enqueue_once" else LABELS)


async def test_a_job_that_goes_on_after_its_end_is_what_it_was_but_for_what_is_forgotten(
    connection: asyncpg.Connection,
) -> None:
    forgotten = {"crashes", "fence"}
    [again] = [columns for name, columns in inserts("job") if name == "retry"]
    both = await columns_of(connection, "job") & await columns_of(connection, "finished")
    assert both - again == forgotten
