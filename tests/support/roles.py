"""The roles of `asyncjobs db sql --roles` on a test's database, and a login for each."""

from __future__ import annotations

import asyncpg

from asyncjobs.cli.db import ROLES
from asyncjobs.db.connecting import connect

LOGINS = {
    "web": "asyncjobs_enqueuer",
    "runner": "asyncjobs_worker",
    "looker": "asyncjobs_viewer",
    "nobody": None,
    "keeper": "asyncjobs_owner",
}


async def apply(url: str, script: str) -> None:
    """Run a script."""
    connection = await connect(url, is_lent=True)
    try:
        await connection.execute(script)
    finally:
        connection.terminate()


async def apply_roles(url: str) -> dict[str, str]:
    """Apply the roles, and make a login for each; the database's URL for each, as of `logins`."""
    for _ in range(2):  # it may be run again
        await apply(url, ROLES.read_text())
    connection = await connect(url)
    try:
        for login, role in LOGINS.items():
            if await connection.fetchval("select to_regrole($1)", f"aj_{login}") is None:
                await connection.execute(f"create role aj_{login} login" + (f" in role {role}" if role else ""))
    finally:
        connection.terminate()
    return logins(url)


def logins(url: str) -> dict[str, str]:
    """A database's URL for each of `LOGINS`."""
    return {login: url.replace("postgres@", f"aj_{login}@") for login in LOGINS}


async def refusals(url: str, *statements: str) -> dict[str, str | None]:
    """The SQLSTATE of each statement; each is rolled back."""
    connection = await connect(url)
    found: dict[str, str | None] = {}
    try:
        for statement in statements:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(statement)
                found[statement] = None
            except asyncpg.PostgresError as error:
                found[statement] = error.sqlstate
            await transaction.rollback()
    finally:
        connection.terminate()
    return found


def all_refused(found: dict[str, str | None]) -> bool:
    """Whether every statement was refused for want of a right."""
    return {statement: state for statement, state in found.items() if state != "42501"} == {}
