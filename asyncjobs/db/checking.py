"""Checks of a database: its schema is of this version or near enough, and its server is new enough."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from asyncjobs.db import migration_files, sql
from asyncjobs.db.errors import MIGRATE
from asyncjobs.db.migration_files import FUNCTIONS, Applied, numbers
from asyncjobs.exceptions import SchemaMismatch
from asyncjobs.version import VERSION

UNRELEASED = (
    "this database was made by an asyncjobs that was never released, whose schema cannot be brought up to date: drop it "
    "with its jobs (`asyncjobs db psql -- -c 'drop schema asyncjobs cascade'`), then run `asyncjobs db migrate`"
)


async def check(connection: asyncpg.Connection) -> None:
    """Refuse a schema that does not fit this version; one that is ahead by one minor version at most does.

    Raises:
        SchemaMismatch: It is missing, older, too new, or changed by hand; the message has the command to run. Or PostgreSQL
            is older than 13, or the database's encoding is not UTF8.
    """
    await check_server(connection)
    there = await migration_files.applied(connection)
    if not there:
        raise SchemaMismatch(f"this database has no asyncjobs schema: {MIGRATE}")
    check_numbered(there)
    missing = [m.number for m in migration_files.known() if m.number not in there]
    if missing:
        raise SchemaMismatch(
            f"the schema lacks migration {missing[0]} of {migration_files.known()[-1].number}: {MIGRATE}"
        )
    check_functions(there)
    lost = await connection.fetchval(sql.read("read_lost_function"), migration_files.function_names())
    if lost is not None:
        raise SchemaMismatch(
            f"the schema lacks asyncjobs.{lost}: run `asyncjobs db migrate` with version {there[FUNCTIONS].release}"
        )


def check_numbered(there: Mapping[int, Applied]) -> None:
    """Refuse migrations that were changed, and migrations of later than the next minor version.

    Up to there migrations only add: so a release can be rolled back, and old processes may start during a deploy.
    """
    if 1 in there and there[1].name == "initial":
        raise SchemaMismatch(UNRELEASED)
    newest = migration_files.known()[-1].number
    later = [there[number].release for number in there if number > newest]
    ours = there[newest].release if newest in there else ""
    if later and not all(_is_near(release, ours) for release in later):
        raise SchemaMismatch(
            f"the schema is at migration {max(there)} and this version of asyncjobs knows {newest}: "
            "upgrade asyncjobs-pg here"
        )
    for migration in migration_files.known():
        if migration.number in there and there[migration.number].checksum != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.number} of this database is not the one this version ships: "
                "the schema was made by another build of asyncjobs; restore it, or use that build"
            )


def check_functions(there: Mapping[int, Applied]) -> None:
    """Refuse functions of another build, unless they are of a later release, up to the next minor version."""
    found = there.get(FUNCTIONS)
    if found is None:
        raise SchemaMismatch(f"the schema lacks its functions: {MIGRATE}")
    if found.checksum == migration_files.functions().checksum:
        return
    is_newer = (numbers(found.release) or [10_000]) > numbers(VERSION)
    if is_newer and not _is_near(found.release, VERSION):
        raise SchemaMismatch(
            f"the schema has the functions of asyncjobs {found.release} and this is {VERSION}: upgrade asyncjobs-pg here"
        )
    if not is_newer and max(there) <= migration_files.known()[-1].number:
        which = f"asyncjobs {found.release}" if found.release != VERSION else f"another build of asyncjobs {VERSION}"
        raise SchemaMismatch(f"the schema has the functions of {which}: {MIGRATE}")


def _is_near(release: str, ours: str) -> bool:
    """Whether a release is of the next minor version or older, with the same major version."""
    theirs, here = numbers(release), numbers(ours)
    return bool(theirs and here) and theirs[0] == here[0] and theirs[1] <= here[1] + 1


async def check_server(connection: asyncpg.Connection) -> None:
    """Refuse a server or a database that asyncjobs does not support; see `check`."""
    version = connection.get_server_version()
    if version.major < 13:
        raise SchemaMismatch(f"PostgreSQL {version.major} is too old: asyncjobs needs 13 or later")
    encoding = await connection.fetchval(
        "select pg_encoding_to_char(encoding) from pg_database where datname = current_database()"
    )
    if encoding != "UTF8":
        raise SchemaMismatch(
            f"the database's encoding is {encoding}: asyncjobs needs a database created with encoding UTF8"
        )
