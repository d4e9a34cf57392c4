"""Numbered, forward-only migrations, applied under an advisory lock, each in its own transaction."""

from __future__ import annotations

import contextlib
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncpg

from asyncjobs.db.errors import ENQUEUER, MIGRATE, OWNER, VIEWER, WORKER, lacks
from asyncjobs.exceptions import PermissionDenied, SchemaMismatch

_HERE = Path(__file__).parent / "migrations"
_LOCK = 4_274_993_741_120_017_001  # any fixed number that nobody else takes

_BOOTSTRAP = """
create schema if not exists asyncjobs;
create table if not exists asyncjobs.migration (
  number integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default clock_timestamp()
);
"""


class Migration(NamedTuple):
    """One step of the schema."""

    number: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def known() -> tuple[Migration, ...]:
    """Return every migration this version knows, in order."""
    files = sorted(_HERE.glob("[0-9]*.sql"))
    return tuple(
        Migration(int(path.stem.split("_", 1)[0]), path.stem.split("_", 1)[1], path.read_text(encoding="utf-8"))
        for path in files
    )


async def applied(connection: asyncpg.Connection) -> dict[int, str]:
    """Return the checksums of the applied migrations by number; empty when there is no schema.

    Raises:
        PermissionDenied: This login has no right on the schema.
    """
    try:
        return await _applied(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionDenied(await _which_role(connection, str(error.message))) from error


async def _applied(connection: asyncpg.Connection) -> dict[int, str]:
    if await connection.fetchval("select to_regclass('asyncjobs.migration')") is None:
        return {}
    rows = await connection.fetch("select number, checksum from asyncjobs.migration order by number")
    return {row["number"]: row["checksum"] for row in rows}


async def _which_role(connection: asyncpg.Connection, message: str) -> str:
    """Return what a login needs that may not even look at the schema's version."""
    login = await connection.fetchval("select quote_ident(current_user)")
    return (
        f"{message}; this login has no role here: `grant {ENQUEUER} to {login}` if it enqueues, {WORKER} if it works, "
        f"{VIEWER} if it looks, {OWNER} if it migrates (`asyncjobs db sql --roles` makes the roles)"
    )


async def check(connection: asyncpg.Connection) -> None:
    """Refuse a schema that this version does not know, unless all that it does not know came with the next minor version.

    Raises:
        SchemaMismatch: Missing, older, too new, or changed by hand; the message has the command to run.
        DatabaseError: PostgreSQL is older than 13, or the database's encoding is not UTF8.
    """
    await _check_server(connection)
    there = await applied(connection)
    if not there:
        raise SchemaMismatch(f"this database has no asyncjobs schema: {MIGRATE}")
    newest = known()[-1].number
    if max(there) > newest and not await _is_near(connection, newest):
        raise SchemaMismatch(
            f"the schema is at migration {max(there)} and this version of asyncjobs knows {newest}: "
            "upgrade asyncjobs-pg here"
        )
    missing = [m.number for m in known() if m.number not in there]
    if missing:
        raise SchemaMismatch(f"the schema lacks migration {missing[0]} of {newest}: {MIGRATE}")
    _check_unchanged(there)


async def _is_near(connection: asyncpg.Connection, newest: int) -> bool:
    """Whether what comes after the newest migration of this version came with its own minor version or the next one.

    Migrations only add within that distance: so a release can be rolled back, and old processes may start during a deploy.
    """
    rows = await connection.fetch(
        "select release from asyncjobs.migration where number >= $1 order by number = $1 desc", newest
    )
    ours, *later = [re.fullmatch("([0-9]{1,4})[.]([0-9]{1,4})", row["release"]) for row in rows]
    return ours is not None and all(
        each is not None and each[1] == ours[1] and int(each[2]) <= int(ours[2]) + 1 for each in later
    )


def _check_unchanged(there: dict[int, str]) -> None:
    for migration in known():
        if there.get(migration.number, migration.checksum) != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.number} of this database is not the one this version ships: "
                "the schema was made by another build of asyncjobs; restore it, or use that build"
            )


async def _check_server(connection: asyncpg.Connection) -> None:
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


async def migrate(connection: asyncpg.Connection) -> list[Migration]:
    """Apply what is missing and return it; nothing when the schema is current.

    Two at once: one waits for the other and finds nothing left. Killed midway, it goes on where it was.

    Raises:
        SchemaMismatch: The schema is newer than this version, or was changed.
        PermissionDenied: This login owns neither the schema nor, where there is none, the right to make one.
    """
    await _check_server(connection)
    await connection.execute("select pg_advisory_lock($1::bigint)".replace("$1", str(_LOCK)))
    try:
        await _be_the_owner(connection)
        return await _migrate(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionDenied(await _to_migrate(connection, str(error.message))) from error
    finally:
        await connection.execute(f"reset role; select pg_advisory_unlock({_LOCK})")


async def _be_the_owner(connection: asyncpg.Connection) -> None:
    """Act as the role that owns the schema, where that is one nobody logs in as.

    What a migration makes then is the owner's at once: made by a superuser, a function that runs with its owner's rights
    would run with his.
    """
    owner = await connection.fetchval(
        "select quote_ident(rolname) from pg_namespace join pg_roles on pg_roles.oid = nspowner "
        "where nspname = 'asyncjobs' and not rolcanlogin and rolname <> current_user and pg_has_role(nspowner, 'MEMBER')"
    )
    if owner is not None:
        # A member that may not become it, as there are since PostgreSQL 16, has its rights all the same.
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"set role {owner}")


async def _to_migrate(connection: asyncpg.Connection, message: str) -> str:
    """Return what a login needs that may not migrate."""
    login, database, owner = await connection.fetchrow(
        "select quote_ident(session_user), quote_ident(current_database()), "
        "(select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'asyncjobs')"
    )
    if owner is None:
        return f"{message}; to make the schema, this login needs: `grant create on database {database} to {login}`"
    if owner == OWNER:
        return lacks(message, OWNER, login=login)
    return f"{message}; the schema belongs to {owner}: migrate as that, or `grant {owner} to {login}`"


async def _migrate(connection: asyncpg.Connection) -> list[Migration]:
    there = await _applied(connection)
    if there and max(there) > known()[-1].number:
        await check(connection)
    _check_unchanged(there)
    if not there:
        await connection.execute(_BOOTSTRAP)
    made = [migration for migration in known() if migration.number not in there]
    for migration in made:
        async with connection.transaction():
            await connection.execute("set local lock_timeout = '1s'")
            await connection.execute(migration.text)
            await connection.execute(
                "insert into asyncjobs.migration (number, name, checksum) values ($1, $2, $3)",
                *(migration.number, migration.name, migration.checksum),
            )
    if made:
        await connection.fetchval("select asyncjobs.make_partitions((clock_timestamp() at time zone 'UTC')::date + 10)")
    return made
