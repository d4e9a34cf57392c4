"""Numbered, forward-only migrations, each in its own transaction and under a lock on the table that lists them.

No advisory lock: every login of the database can take one, and who migrates would wait for as long as that likes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import asyncpg

from asyncjobs.db import pooling
from asyncjobs.db.connecting import SEARCH_PATH
from asyncjobs.db.errors import ENQUEUER, MIGRATE, OWNER, VIEWER, WORKER, lacks
from asyncjobs.db.jobs import make_partitions
from asyncjobs.db.lock_wait import LockWait
from asyncjobs.exceptions import PermissionDenied, SchemaMismatch

logger = logging.getLogger("asyncjobs.migrate")

_HERE = Path(__file__).parent / "migrations"
LOCK = "lock table asyncjobs.migration in share row exclusive mode"
WAIT = 10.0
"""Seconds that locks are waited for in all, unless the caller says otherwise."""

# `create schema if not exists` needs the right to make schemas even where it is there.
# Who owns the schema, or a thing in it, can have code of his run as whoever migrates, and as the functions' owner.
_OUR_SCHEMA = """
declare
  trusted oid[] := array(
    select oid from pg_catalog.pg_roles
    where rolname = current_user or rolsuper
       or not (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
          and (pg_has_role(oid, 'MEMBER')
               or oid = (select datdba from pg_catalog.pg_database where datname = current_database())));
  others text;
begin
  if to_regnamespace('asyncjobs') is null then
    create schema asyncjobs;
  end if;
  select string_agg(distinct quote_ident(pg_get_userbyid(owner)), ', ') into others
  from (
    select nspowner as owner from pg_catalog.pg_namespace where nspname = 'asyncjobs'
    union all select relowner from pg_catalog.pg_class where relnamespace = 'asyncjobs'::regnamespace
    union all select proowner from pg_catalog.pg_proc where pronamespace = 'asyncjobs'::regnamespace
    union all select oprowner from pg_catalog.pg_operator where oprnamespace = 'asyncjobs'::regnamespace
    union all select typowner from pg_catalog.pg_type where typnamespace = 'asyncjobs'::regnamespace
  ) as things
  where owner <> all(trusted);
  if others is not null then
    raise exception 'the schema asyncjobs, or something in it, belongs to %, whose code could then run as %: have it '
                    'given to the role that migrates (`alter schema asyncjobs owner to %`), or dropped',
                    others, current_user, quote_ident(current_user);
  end if;
end;
"""
"""A block of PL/pgSQL: makes the schema where there is none, and refuses one that is neither this role's nor that of a role
which may do as much.
"""

BOOTSTRAP_BODY = f"""\
for attempt in 1 .. 5 loop
  begin
    {_OUR_SCHEMA.strip()}
    create table if not exists asyncjobs.migration (
      number integer primary key,
      name text not null,
      checksum text not null,
      applied_at timestamptz not null default clock_timestamp()
    );
    exit;
  exception when unique_violation or duplicate_schema or duplicate_table then
    null;  -- somebody else has made it just now
  end;
end loop;
"""
"""Statements of PL/pgSQL. Before there is the table there is nothing to lock: of several who make it, one does."""
_BOOTSTRAP = f"do $$ begin {BOOTSTRAP_BODY} end $$;"

REVOKED = "revoke execute on all routines in schema asyncjobs from public"
"""After each migration, in its transaction: what it has made may be executed by everybody unless that is taken back."""


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


async def migrate(
    connection: asyncpg.Connection, *, wait: float = WAIT, on_wait: Callable[[str], object] = logger.warning
) -> list[Migration]:
    """Apply what is missing and return it; nothing when the schema is current.

    Two at once: each is applied by one of them. Killed midway, it goes on where it was.

    Args:
        connection: Not in a transaction.
        wait: Seconds that locks are waited for in all: of another who migrates, and of transactions that use the tables.
        on_wait: Told what is waited for, after a second and whenever that has changed.

    Raises:
        SchemaMismatch: The schema is newer than this version, or was changed.
        PermissionDenied: This login owns neither the schema nor, where there is none, the right to make one.
        DatabaseUnavailable: A lock was not to be had in time; the message names who holds it.
    """
    if not pooling.is_own(connection):
        raise SchemaMismatch(
            "a pooler in transaction mode stands before the database, and a migration needs one session to its end: migrate "
            "with the URL of the database itself, or of a port in session mode"
        )
    path = await connection.fetchval("select pg_catalog.current_setting('search_path')")
    await connection.execute(f"set search_path = {SEARCH_PATH}")
    try:
        return await _migrate_alone(connection, LockWait(connection, wait, on_wait))
    finally:
        if not connection.is_closed():
            await connection.execute("select pg_catalog.set_config('search_path', $1, false)", path)


async def _migrate_alone(connection: asyncpg.Connection, locks: LockWait) -> list[Migration]:
    await _check_server(connection)
    try:
        await _be_the_owner(connection)
        return await _migrate(connection, locks)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionDenied(await _to_migrate(connection, str(error.message))) from error
    except asyncpg.RaiseError as error:
        raise SchemaMismatch(str(error.message)) from error
    finally:
        await connection.execute("reset role")


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
    login, database, owner, is_migrated = await connection.fetchrow(
        "select quote_ident(session_user), quote_ident(current_database()), "
        "(select quote_ident(pg_get_userbyid(nspowner)) from pg_namespace where nspname = 'asyncjobs'), "
        "exists (select from pg_class join pg_namespace as n on n.oid = relnamespace "
        "where nspname = 'asyncjobs' and relname = 'migration')"
    )
    if owner is None:
        return f"{message}; to make the schema, this login needs: `grant create on database {database} to {login}`"
    if owner == OWNER:
        return lacks(message, OWNER, login=login)
    if not is_migrated:
        return f"{message}; to make its tables, this login needs: `grant usage, create on schema asyncjobs to {login}`"
    return f"{message}; the schema belongs to {owner}: migrate as that, or `grant {owner} to {login}`"


async def _migrate(connection: asyncpg.Connection, locks: LockWait) -> list[Migration]:
    there = await _applied(connection)
    if there and max(there) > known()[-1].number:
        await check(connection)
    _check_unchanged(there)
    if not there:
        await locks.run(lambda connection: connection.execute(_BOOTSTRAP))
    missing = [migration for migration in known() if migration.number not in there]
    made = [migration for migration in missing if await locks.run(partial(_apply, migration=migration))]
    if made:
        await locks.run(partial(make_partitions, days=10))
    return made


async def _apply(connection: asyncpg.Connection, migration: Migration) -> bool:
    """Apply one migration unless somebody has meanwhile; return whether it was done here."""
    await connection.execute(LOCK)
    if await connection.fetchval("select exists (select from asyncjobs.migration where number = $1)", migration.number):
        return False
    await connection.execute(migration.text)
    await connection.execute(
        "insert into asyncjobs.migration (number, name, checksum) values ($1, $2, $3)",
        *(migration.number, migration.name, migration.checksum),
    )
    await connection.execute(REVOKED)
    return True
