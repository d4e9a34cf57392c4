"""The schema: numbered, forward-only files, and after them the functions, in one transaction under a lock on their list.

No advisory lock: every login of the database can take one, and who migrates would wait for as long as that likes.
The functions are written whenever they are others than those recorded, but never by a release that is older than the one
which wrote them: old processes work with new functions, and not the other way about.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import asyncpg

from asyncjobs.db import pooling, sql
from asyncjobs.db.connecting import SEARCH_PATH
from asyncjobs.db.errors import ENQUEUER, MIGRATE, OWNER, VIEWER, WORKER, lacks
from asyncjobs.db.jobs import make_partitions
from asyncjobs.db.lock_wait import LockWait
from asyncjobs.exceptions import PermissionDenied, SchemaMismatch
from asyncjobs.version import VERSION

logger = logging.getLogger("asyncjobs.migrate")

_HERE = Path(__file__).parent
FUNCTIONS = 0
"""The number under which the functions are recorded, as one row: their checksum, and as `release` the whole version."""
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

UNRELEASED = (
    "this database was made by an asyncjobs that was never released, whose schema cannot be brought up to date: drop it "
    "with its jobs (`asyncjobs db psql -- -c 'drop schema asyncjobs cascade'`), then run `asyncjobs db migrate`"
)

REFUSE_UNRELEASED = (
    "if exists (select from asyncjobs.migration where number = 1 and name = 'initial') then "
    f"raise exception using message = $unreleased${UNRELEASED}$unreleased$; end if;"
)
"""A statement of PL/pgSQL, for those scripts that nobody else looks after."""


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
        """A condition in SQL: whether it is to be applied here."""
        if self.number != FUNCTIONS:
            return f"not exists (select from asyncjobs.migration where number = {self.number})"
        return sql.read("functions_are_missing").format(
            newest=known()[-1].number,
            checksum=self.checksum,
            version=",".join(map(str, _numbers(VERSION))),
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
    """The minor version it came with, as 0.1; of the functions the version, as 0.1.0."""


@cache
def known() -> tuple[Migration, ...]:
    """Return every migration this version knows, in order."""
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
    """Return what was applied by number; empty when there is no schema.

    Raises:
        PermissionDenied: This login has no right on the schema.
    """
    try:
        return await _applied(connection)
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermissionDenied(await _which_role(connection, str(error.message))) from error


async def _applied(connection: asyncpg.Connection) -> dict[int, Applied]:
    if await connection.fetchval("select to_regclass('asyncjobs.migration')") is None:
        return {}
    rows = await connection.fetch(sql.read("read_migrations"))
    return {row["number"]: Applied(row["name"], row["checksum"], row["release"]) for row in rows}


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
    _check_numbered(there)
    missing = [m.number for m in known() if m.number not in there]
    if missing:
        raise SchemaMismatch(f"the schema lacks migration {missing[0]} of {known()[-1].number}: {MIGRATE}")
    _check_functions(there)
    lost = await connection.fetchval(sql.read("read_lost_function"), function_names())
    if lost is not None:
        raise SchemaMismatch(
            f"the schema lacks asyncjobs.{lost}: run `asyncjobs db migrate` with version {there[FUNCTIONS].release}"
        )


def _check_numbered(there: Mapping[int, Applied]) -> None:
    """Refuse migrations that were changed, and those that came after the next minor version.

    Migrations only add within that distance: so a release can be rolled back, and old processes may start during a deploy.
    """
    if 1 in there and there[1].name == "initial":
        raise SchemaMismatch(UNRELEASED)
    newest = known()[-1].number
    later = [there[number].release for number in there if number > newest]
    ours = there[newest].release if newest in there else ""
    if later and not all(_is_near(release, ours) for release in later):
        raise SchemaMismatch(
            f"the schema is at migration {max(there)} and this version of asyncjobs knows {newest}: "
            "upgrade asyncjobs-pg here"
        )
    for migration in known():
        if migration.number in there and there[migration.number].checksum != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.number} of this database is not the one this version ships: "
                "the schema was made by another build of asyncjobs; restore it, or use that build"
            )


def _check_functions(there: Mapping[int, Applied]) -> None:
    """Refuse functions of another build, unless they came later and with the next minor version at most."""
    found = there.get(FUNCTIONS)
    if found is None:
        raise SchemaMismatch(f"the schema lacks its functions: {MIGRATE}")
    if found.checksum == functions().checksum:
        return
    is_newer = (_numbers(found.release) or [10_000]) > _numbers(VERSION)
    if is_newer and not _is_near(found.release, VERSION):
        raise SchemaMismatch(
            f"the schema has the functions of asyncjobs {found.release} and this is {VERSION}: upgrade asyncjobs-pg here"
        )
    if not is_newer and max(there) <= known()[-1].number:
        which = f"asyncjobs {found.release}" if found.release != VERSION else f"another build of asyncjobs {VERSION}"
        raise SchemaMismatch(f"the schema has the functions of {which}: {MIGRATE}")


def _is_near(release: str, ours: str) -> bool:
    """Whether a release is of our minor version or the next one, or older."""
    theirs, here = _numbers(release), _numbers(ours)
    return bool(theirs and here) and theirs[0] == here[0] and theirs[1] <= here[1] + 1


def _numbers(release: str) -> list[int]:
    """Return the numbers of a version, without what follows them; none: it is none."""
    found = re.match(r"[0-9]{1,4}[.][0-9]{1,4}([.][0-9]{1,4})?", release)
    return [int(number) for number in found[0].split(".")] if found else []


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
    _check_numbered(there)
    if not there:
        await locks.run(_bootstrap)
    elif max(there) > known()[-1].number:
        await check(connection)
    if not [each for each in (*known(), functions()) if await _is_missing(connection, each)]:
        _check_functions(await _applied(connection))
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
    for migration in (*known(), functions()):
        if await _is_missing(connection, migration):
            await connection.execute(migration.text)
            await connection.execute(migration.record)
            made.append(migration)
    if made:
        await connection.execute(REVOKED)
        await make_partitions(connection, days=10)
    return made
