"""Migration of the schema: numbered, forward-only files, then the functions, in one transaction that locks the list of them.

It takes no advisory lock: any login of the database can take one, and could hold up a migration for ever.
The functions are written whenever they differ from the recorded ones, but never by a release that is older than the one
which wrote those: old processes work with new functions, but not the other way round.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

import asyncpg

from asyncjobs.db import migration_files, poolers
from asyncjobs.db.checking import UNRELEASED, check, check_functions, check_numbered, check_server
from asyncjobs.db.connecting import SEARCH_PATH
from asyncjobs.db.errors import OWNER, lacks
from asyncjobs.db.jobs import make_partitions
from asyncjobs.db.lock_wait import LockWait
from asyncjobs.db.migration_files import Migration
from asyncjobs.exceptions import PermissionDenied, SchemaMismatch

logger = logging.getLogger("asyncjobs.migrate")

LOCK = "lock table asyncjobs.migration in share row exclusive mode"
WAIT = 10.0
"""Seconds for all waits for locks together, unless the caller gives another time."""

# `create schema if not exists` needs the right to make schemas even if the schema exists.
# The owner of the schema, or of a thing in it, can have code run with the rights of the migrating role and of the functions'
# owner.
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
"""A block of PL/pgSQL: makes the schema if there is none, and refuses one with an owner that is not trusted: neither this
role nor one that may do as much.
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
"""Statements of PL/pgSQL. Before the table exists nothing can be locked: of several sessions that make it, one succeeds.

`release` is the minor version that a migration came with: the first one of each minor version sets the column's default.
"""
_BOOTSTRAP = f"do $$ begin {BOOTSTRAP_BODY} end $$;"

REVOKED = "revoke execute on all routines in schema asyncjobs from public"
"""Run in each transaction that makes functions: by default everybody may execute them."""

UNCHECKED = "set local check_function_bodies = off"
"""The functions call each other, and are written in the order of their names: so bodies are checked when they are called."""

REFUSE_UNRELEASED = (
    "if exists (select from asyncjobs.migration where number = 1 and name = 'initial') then "
    f"raise exception using message = $unreleased${UNRELEASED}$unreleased$; end if;"
)
"""A statement of PL/pgSQL for scripts that run without this module."""


async def migrate(
    connection: asyncpg.Connection, *, wait: float = WAIT, on_wait: Callable[[str], object] = logger.warning
) -> list[Migration]:
    """Apply missing migrations, in one transaction, and return them; none when the schema is current.

    Of two calls at once, one applies them. A call that is killed midway applies nothing.

    Args:
        connection: A connection that is not in a transaction.
        wait: Seconds for all waits for locks together: of another migration, and of transactions that use the tables.
        on_wait: Called with a sentence about a wait, after a second and whenever it changes.

    Raises:
        SchemaMismatch: The schema is newer than this version, or was changed by hand.
        PermissionDenied: This login does not own the schema, or may not make one.
        DatabaseUnavailable: A lock was not to be had in time; the message names the sessions that hold it.
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
    """Act as the role that owns the schema, if it is one that cannot log in.

    So that role owns all that a migration makes: a function that a superuser makes, and that runs with its owner's rights,
    would run with the superuser's.
    """
    owner = await connection.fetchval(
        "select quote_ident(rolname) from pg_namespace join pg_roles on pg_roles.oid = nspowner "
        "where nspname = 'asyncjobs' and not rolcanlogin and rolname <> current_user and pg_has_role(nspowner, 'MEMBER')"
    )
    if owner is not None:
        # Since PostgreSQL 16 a member may be unable to become the role, but has its rights all the same.
        with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
            await connection.execute(f"set role {owner}")


async def _to_migrate(connection: asyncpg.Connection, message: str) -> str:
    """Return a message with the right that a login lacks to migrate."""
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
    there = await migration_files.read(connection)
    check_numbered(there)
    if not there:
        await locks.run(_bootstrap)
    elif max(there) > migration_files.known()[-1].number:
        await check(connection)
    if not [
        each for each in (*migration_files.known(), migration_files.functions()) if await _is_missing(connection, each)
    ]:
        check_functions(await migration_files.read(connection))
        return []
    if there and await connection.fetchval("select has_table_privilege('asyncjobs.migration', 'insert')"):
        await locks.run(_bootstrap)  # checks the owners again: another owner's trigger would run with our rights
    return await locks.run(_apply)


async def _bootstrap(connection: asyncpg.Connection) -> None:
    await connection.execute(_BOOTSTRAP)


async def _is_missing(connection: asyncpg.Connection, migration: Migration) -> bool:
    return bool(await connection.fetchval(f"select {migration.is_missing}"))


async def _apply(connection: asyncpg.Connection) -> list[Migration]:
    """Apply the migrations that are still missing under the lock, and return them."""
    await connection.execute(f"{LOCK}; {UNCHECKED}")
    made = []
    for migration in (*migration_files.known(), migration_files.functions()):
        if await _is_missing(connection, migration):
            await connection.execute(migration.text)
            await connection.execute(migration.record)
            made.append(migration)
    if made:
        await connection.execute(REVOKED)
        await make_partitions(connection, days=10)
    return made
