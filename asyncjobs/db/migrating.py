"""The schema: numbered, forward-only files, and after them the functions, in one transaction under a lock on their list.

No advisory lock: every login of the database can take one, and who migrates would wait for as long as that likes.
The functions are written whenever they are others than those recorded, but never by a release that is older than the one
which wrote them: old processes work with new functions, and not the other way about.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

import asyncpg

from asyncjobs.db import migrations, poolers
from asyncjobs.db.checking import UNRELEASED, check, check_functions, check_numbered, check_server
from asyncjobs.db.connecting import SEARCH_PATH
from asyncjobs.db.errors import OWNER, lacks
from asyncjobs.db.jobs import make_partitions
from asyncjobs.db.lock_wait import LockWait
from asyncjobs.db.migrations import Migration
from asyncjobs.exceptions import PermissionDenied, SchemaMismatch

logger = logging.getLogger("asyncjobs.migrate")

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
                    'given to the role that migrates (`alter schema asyncjobs owner to %`) or dropped, '
                    'or migrate as that role',
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
      applied_at timestamptz not null default clock_timestamp(),
      release text not null default '0.1'
    );
    exit;
  exception when unique_violation or duplicate_schema or duplicate_table then
    null;  -- somebody else has made it just now
  end;
end loop;
"""
"""Statements of PL/pgSQL. Before there is the table there is nothing to lock: of several who make it, one does.

`release` is the minor version that a migration came with: the first one of each minor version sets the default to it.
"""
_BOOTSTRAP = f"do $$ begin {BOOTSTRAP_BODY} end $$;"

REVOKED = "revoke execute on all routines in schema asyncjobs from public"
"""Where a function is made, in its transaction: it may be executed by everybody unless that is taken back."""

UNCHECKED = "set local check_function_bodies = off"
"""The functions name each other, and are written in the order of their names: each is looked into when it is called."""

REFUSE_UNRELEASED = (
    "if exists (select from asyncjobs.migration where number = 1 and name = 'initial') then "
    f"raise exception using message = $unreleased${UNRELEASED}$unreleased$; end if;"
)
"""A statement of PL/pgSQL, for those scripts that nobody else looks after."""


async def migrate(
    connection: asyncpg.Connection, *, wait: float = WAIT, on_wait: Callable[[str], object] = logger.warning
) -> list[Migration]:
    """Apply what is missing, in one transaction, and return it; nothing when the schema is current.

    Two at once: one applies it. Killed midway, nothing is applied.

    Args:
        connection: Not in a transaction.
        wait: Seconds that locks are waited for in all: of another who migrates, and of transactions that use the tables.
        on_wait: Told what is waited for, after a second and whenever that has changed.

    Raises:
        SchemaMismatch: The schema is newer than this version, or was changed.
        PermissionDenied: This login owns neither the schema nor, where there is none, the right to make one.
        DatabaseUnavailable: A lock was not to be had in time; the message names who holds it.
    """
    if not poolers.is_own(connection):
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
    await check_server(connection)
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
    there = await migrations.read(connection)
    check_numbered(there)
    if not there:
        await locks.run(_bootstrap)
    elif max(there) > migrations.known()[-1].number:
        await check(connection)
    if not [each for each in (*migrations.known(), migrations.functions()) if await _is_missing(connection, each)]:
        check_functions(await migrations.read(connection))
        return []
    if there and await connection.fetchval("select has_table_privilege('asyncjobs.migration', 'insert')"):
        await locks.run(_bootstrap)  # a trigger of another owner's would run as who migrates
    return await locks.run(_apply)


async def _bootstrap(connection: asyncpg.Connection) -> None:
    await connection.execute(_BOOTSTRAP)


async def _is_missing(connection: asyncpg.Connection, migration: Migration) -> bool:
    return bool(await connection.fetchval(f"select {migration.is_missing}"))


async def _apply(connection: asyncpg.Connection) -> list[Migration]:
    """Apply what is missing by now, and return it."""
    await connection.execute(f"{LOCK}; {UNCHECKED}")
    made = []
    for migration in (*migrations.known(), migrations.functions()):
        if await _is_missing(connection, migration):
            await connection.execute(migration.text)
            await connection.execute(migration.record)
            made.append(migration)
    if made:
        await connection.execute(REVOKED)
        await make_partitions(connection, days=10)
    return made
