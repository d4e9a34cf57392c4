"""The driver's errors, translated once, by SQLSTATE."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from asyncjobs.db import places, sql
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, PermissionDenied, SchemaMismatch

_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "25",  # read-only or failed transaction: a standby, or a server that refuses writes for now
    "40",  # serialization failure, deadlock
    "53",  # out of disk, memory, connections
    "55",  # lock not available, object in use
    "57",  # admin shutdown, crash, cannot connect now, query cancelled
    "58",  # system error
}
_SCHEMA_MISSING = {"3F000", "42P01", "42883", "42703"}  # schema, table, function, column does not exist

# What asyncpg and the loop raise when a link breaks or a connection is refused; InterfaceError is "connection is closed".
LINK_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)

MIGRATE = "run `asyncjobs db migrate` with this version"

ENQUEUER, WORKER, VIEWER, OWNER = "asyncjobs_enqueuer", "asyncjobs_worker", "asyncjobs_viewer", "asyncjobs_owner"
"""The roles of `asyncjobs db sql --roles`."""
ENQUEUING = frozenset({
    *("enqueue_one", "enqueue_one_quietly", "enqueue_many", "enqueue_once", "enqueue_by_name", "next_seq", "notify_ready"),
    *("await_jobs", "read_finished", "read_live", "read_status_by_function", "cancel", "emit", "adopt"),
})  # fmt: skip
LOOKING = frozenset({
    *("list_jobs", "read_seen", "read_queues", "read_workers", "read_serving", "read_why", "read_ready_kinds"),
    *("read_days_ahead", "read_finished_counts", "read_status_without_arguments"),
})  # fmt: skip
"""Statements by the role that is made for them; the others are a worker's, who may do all of these."""


def translated(error: BaseException, *, url: str = "", role: str | None = None) -> DatabaseError:
    """Return the asyncjobs error that stands for a driver's `error`.

    The driver's message is kept to its primary line: DETAIL and CONTEXT can hold rows, and rows hold secrets.

    Args:
        error: What was raised.
        url: Of the database, for messages that say where it is and who logs in.
        role: That what was done needs; None: as the statement says.
    """
    if isinstance(error, DatabaseError):
        return error
    state = getattr(error, "sqlstate", None)
    message = str(getattr(error, "message", None) or "") or str(error) or type(error).__name__
    if state is None:
        return _not_reached(error, message, url)
    if state in _SCHEMA_MISSING:
        return SchemaMismatch(
            f"the schema asyncjobs is missing or older than this version needs ({message}); {MIGRATE}"
        )
    if state == "42501":
        role = role or _role_for(getattr(error, "query", None))
        return PermissionDenied(message if role is None else lacks(message, role, url=url))
    if state[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseUnavailable(message)
    return DatabaseError(f"{message} (SQLSTATE {state}){_remedy(state, url)}")


def misconfigured(message: str) -> DatabaseError:
    """Return an error of which database_url, or a variable, is the cause."""
    error = DatabaseError(message)
    error.misconfigured = True
    return error


def lacks(message: str, role: str, *, url: str = "", login: str | None = None) -> str:
    """Return the message for a right that a role would bring."""
    login = login or places.login_of(url) or "this_login"
    return (
        f"{message}; the role that is missing is {role}: `grant {role} to {login}` "
        "(`asyncjobs db sql --roles` makes the roles, and has to be run again after a migration)"
    )


def _role_for(query: str | None) -> str | None:
    """Return the role that a statement of ours needs; None: it is not one of ours."""
    if query is None:
        return None
    if query.startswith('COPY "asyncjobs"."job"'):
        return ENQUEUER
    name = sql.name_of(query)
    if name is None:
        return None
    return ENQUEUER if name in ENQUEUING else VIEWER if name in LOOKING else WORKER


def _not_reached(error: BaseException, message: str, url: str) -> DatabaseError:
    if isinstance(error, asyncpg.InterfaceError) or not url:
        return DatabaseUnavailable(f"no answer from the database: {message}")
    where = places.server_of(url)
    if isinstance(error, socket.gaierror):
        return DatabaseUnavailable(
            f"no answer from the database: there is no host {where} ({message}); see database_url"
        )
    return DatabaseUnavailable(f"no answer from the database at {where}: {message}")


def _remedy(state: str, url: str) -> str:
    if state == "3D000":
        return f": correct the name in database_url, or make it at {places.server_of(url)} with `create database`"
    if state == "42P05":
        return (
            ": a pooler that gives sessions by the transaction stands between, and has this statement from somebody else; "
            "point database_url at the database itself, or at a port in session mode"
        )
    return ""


@contextmanager
def translating(url: str = "") -> Iterator[None]:
    """Turn driver and link errors raised inside into `DatabaseError`s, with the cause attached.

    Args:
        url: Of the database, for messages.
    """
    try:
        yield
    except (asyncpg.PostgresError, *LINK_ERRORS) as error:
        raise translated(error, url=url) from error
