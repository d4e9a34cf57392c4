"""Migrations: the files of this version, and the list of those that a database has."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncpg

from asyncjobs.db import sql
from asyncjobs.db.errors import ENQUEUER, OWNER, VIEWER, WORKER
from asyncjobs.exceptions import PermissionDenied
from asyncjobs.version import VERSION

_HERE = Path(__file__).parent
FUNCTIONS = 0
"""The number under which the functions are recorded, as one row: their checksum, and as `release` the whole version."""


class Migration(NamedTuple):
    """One step of the schema, or all functions."""

    number: int
    """From 1; `FUNCTIONS`: the functions."""
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def is_missing(self) -> str:
        """A condition in SQL: whether the database lacks it."""
        if self.number != FUNCTIONS:
            return f"not exists (select from asyncjobs.migration where number = {self.number})"
        return sql.read("functions_are_missing").format(
            newest=known()[-1].number,
            checksum=self.checksum,
            version=",".join(map(str, numbers(VERSION))),
            names=",".join(function_names()),
        )

    @property
    def record(self) -> str:
        """A statement that records it."""
        if self.number == FUNCTIONS:
            return sql.read("record_functions").format(checksum=self.checksum, version=VERSION)
        return sql.read("record_migration").format(number=self.number, name=self.name, checksum=self.checksum)

    def __str__(self) -> str:
        return self.name if self.number == FUNCTIONS else f"{self.number:04d}_{self.name}"


class Applied(NamedTuple):
    """A row of the table that lists migrations."""

    name: str
    checksum: str
    release: str
    """The minor version that it came with, as 0.1; for the functions the version, as 0.1.0."""


@cache
def known() -> tuple[Migration, ...]:
    """Return the migrations of this version, in order."""
    return tuple(
        Migration(int(number), name or "schema", path.read_text(encoding="utf-8"))
        for path in sorted((_HERE / "schema").glob("[0-9]*.sql"))
        for number, _, name in [path.stem.partition("_")]
    )


@cache
def _function_files() -> tuple[Path, ...]:
    return tuple(path for room in ("functions", "views") for path in sorted((_HERE / room).glob("*.sql")))


@cache
def function_names() -> tuple[str, ...]:
    """Return the names of the functions, and of the views after them, each in a file of its own."""
    return tuple(path.stem for path in _function_files())


@cache
def functions() -> Migration:
    """Return the functions, and the views that call them, all in one text."""
    return Migration(FUNCTIONS, "functions", "\n".join(path.read_text(encoding="utf-8") for path in _function_files()))


async def applied(connection: asyncpg.Connection) -> dict[int, Applied]:
    """Return the applied migrations by number; empty when there is no schema.

    Raises:
        PermissionDenied: This login has no right on the schema.
    """
    try:
        return await read(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionDenied(await _which_role(connection, str(error.message))) from error


async def read(connection: asyncpg.Connection) -> dict[int, Applied]:
    """Return the same as `applied`, and raise the driver's errors."""
    if await connection.fetchval("select to_regclass('asyncjobs.migration')") is None:
        return {}
    rows = await connection.fetch(sql.read("read_migrations"))
    return {row["number"]: Applied(row["name"], row["checksum"], row["release"]) for row in rows}


async def _which_role(connection: asyncpg.Connection, message: str) -> str:
    """Return a message with the roles for a login that may not even read the schema's version."""
    login = await connection.fetchval("select quote_ident(current_user)")
    return (
        f"{message}; this login has no role here: `grant {ENQUEUER} to {login}` if it enqueues, {WORKER} if it works, "
        f"{VIEWER} if it looks, {OWNER} if it migrates (`asyncjobs db sql --roles` makes the roles)"
    )


def numbers(release: str) -> list[int]:
    """Return the numbers of a version, without a suffix; empty: it is no version."""
    found = re.match(r"[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})?", release)
    return [int(number) for number in found[0].split(".")] if found else []
