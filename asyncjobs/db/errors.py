"""Errors of the driver, translated into those of asyncjobs by SQLSTATE."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from asyncjobs.db import sql, url_parts
from asyncjobs.exceptions import DatabaseError, DatabaseUnavailable, PermissionDenied, SchemaMismatch

_UNAVAILABLE_CLASSES = {
    "08",  # connection exception
    "25",  # read-only or failed transaction: a standby, or a server that refuses writes for now
    "26",  # its prepared statement is gone: behind a pooler
    "40",  # serialization failure, deadlock
    "53",  # out of disk, memory, connections
    "57",  # admin shutdown, crash, cannot connect now, query cancelled
    "58",  # system error
}
_UNAVAILABLE = {"55006", "55P03"}  # object in use, lock not available: of class 55, these alone may pass
SCHEMA_MISSING = {"3F000", "42P01", "42883", "42703"}  # schema, table, function, column does not exist

_OF_SESSION = {
    "25006",  # read-only: the session of a standby, or one that began when the server was
    "26000",  # its prepared statements are gone
    "42P05",  # its prepared statements are another client's
}

# Errors of asyncpg and the loop when a link breaks or a connection is refused; InterfaceError is "connection is closed".
LINK_ERRORS = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_UNREACHED = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}

MIGRATE = "run `asyncjobs db migrate` with this version"

LOCK_NOT_AVAILABLE = "55P03"

ENQUEUER, WORKER, VIEWER, OWNER = "asyncjobs_enqueuer", "asyncjobs_worker", "asyncjobs_viewer", "asyncjobs_owner"
"""The roles of `asyncjobs db sql --roles`."""
ENQUEUING = frozenset({
    *("enqueue_one", "enqueue_one_quietly", "enqueue_many", "enqueue_by_name", "next_seq", "notify_ready"),
    *("enqueue_row", "enqueue_rows", "read_depth", "placeless", "enqueue_again", "read_access", "await_by_function"),
    *("read_live_by_function", "read_status_access"),
    *("read_finished_by_function", "read_states_by_function", "read_status_by_function", "cancel", "cancel_many", "emit"),
})  # fmt: skip
LOOKING = frozenset({
    *("list_jobs", "count_jobs", "read_seen", "read_queues", "read_workers", "read_serving", "read_why", "read_ready_kinds"),
    *("read_days_ahead", "read_finished_counts", "read_status_without_arguments", "read_pauses", "read_failed"),
    *("read_limit", "read_limits", "read_recurring", "count_along", "read_running", "read_failed_kinds", "read_counters"),
    *("look_at_jobs", "look_at_live", "count_states", "count_all_states", "read_throughput", "read_newest_names"),
    *("read_shown_without_arguments", "read_belonging", "list_batches", "read_tables", "read_days"),
    *("read_audit", "read_one_audit", "read_applied", "list_batch_jobs"),
})  # fmt: skip
"""Statements by the least role that may run them; the others are a worker's, which may run these, too."""


def is_of_session(error: BaseException) -> bool:
    """Whether the cause is the session, and the statement was refused before it did anything."""
    return _state(error) in _OF_SESSION


def is_deadlock(error: BaseException) -> bool:
    """Whether the statement was rolled back since it and another waited for each other's locks."""
    return _state(error) == "40P01"


def is_full(error: BaseException) -> bool:
    """Whether the server, or the role's limit, allows no further connection."""
    return _state(error) == "53300"


def _state(error: BaseException) -> str | None:
    found: str | None = getattr(error.__cause__ if isinstance(error, DatabaseError) else error, "sqlstate", None)
    return found


def translated(error: BaseException, *, url: str = "", role: str | None = None) -> DatabaseError:
    """Return the asyncjobs error for a driver's `error`.

    Of the driver's message only the primary line is kept: DETAIL and CONTEXT can hold rows, and rows hold secrets.

    Args:
        error: The driver's error.
        url: The database, for messages that name the server and the login.
        role: The role that the statement needs; None: found by the statement's text.
    """
    if isinstance(error, DatabaseError):
        return error
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)  # psycopg2's
    primary = getattr(error, "message", None) or getattr(
        getattr(error, "diag", None), "message_primary", None
    )  # psycopg's
    message = str(primary or "") or str(error) or type(error).__name__
    if state is None:
        return _not_reached(error, message, url)
    if state in SCHEMA_MISSING:
        return SchemaMismatch(
            f"the schema asyncjobs is missing or older than this version needs ({message}); {MIGRATE}"
        )
    if state == "42501":
        if is_of_allowed_kinds(error):
            return PermissionDenied(message)
        role = role or _role_for(getattr(error, "query", None))
        return PermissionDenied(message if role is None else lacks(message, role, url=url))
    if state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE or state in _OF_SESSION:
        return DatabaseUnavailable(f"{message}{_remedy(state, url)}")
    return DatabaseError(f"{message} (SQLSTATE {state}){_remedy(state, url)}")


def is_silence(error: DatabaseError) -> bool:
    """Whether the server has not answered at all, not even with a refusal: others may reach it all the same."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError | socket.gaierror):
        return True
    return isinstance(cause, OSError) and cause.errno in _UNREACHED


def sqlstate_of(error: DatabaseError) -> str:
    """Return the SQLSTATE of an error of the server or the driver; empty: there was no answer."""
    cause = error.__cause__
    while cause is not None:  # SQLAlchemy wraps the driver's error
        if state := getattr(cause, "sqlstate", None):
            return str(state)
        cause = cause.__cause__
    return ""


def is_locked(error: DatabaseError) -> bool:
    """Whether a lock could not be had within our `lock_timeout`."""
    return sqlstate_of(error) == LOCK_NOT_AVAILABLE


def is_of_values(error: DatabaseError) -> bool:
    """Whether the database has refused a row because of a value, and will refuse it again."""
    # 22 data exception, 23 constraint, 54 limit exceeded; or the driver could not encode it.
    return sqlstate_of(error)[:2] in ("22", "23", "54")


def lacks_day(error: DatabaseError) -> bool:
    """Whether the history lacks the partition for the day until which a job is kept.

    The server's text may be in any language, so the fields of the error are compared. The error for a violated constraint
    would have the constraint's name.
    """
    cause = error.__cause__
    return (
        sqlstate_of(error) == "23514"
        and getattr(cause, "table_name", None) == "finished"
        and getattr(cause, "schema_name", None) == "asyncjobs"
        and getattr(cause, "constraint_name", None) is None
    )


def is_of_allowed_kinds(error: BaseException | None) -> bool:
    """Whether a login may enqueue other kinds, but not this one; see the table `asyncjobs.allowed_kind`."""
    table = getattr(error, "table_name", None) or getattr(getattr(error, "diag", None), "table_name", None)  # psycopg's
    return table == "allowed_kind" and "42501" in (getattr(error, "sqlstate", None), getattr(error, "pgcode", None))


def misconfigured(message: str) -> DatabaseError:
    """Return an error whose cause is database_url or a variable."""
    error = DatabaseError(message)
    error.misconfigured = True
    return error


def lacks(message: str, role: str, *, url: str = "", login: str | None = None) -> str:
    """Return the message for a missing right, with the role that has it."""
    login = login or url_parts.login_of(url)
    grant = f"`grant {role} to {login}`" if login else "grant it to this one"
    return (
        f"{message}; that takes the role {role}: use a login that has it, or, if this one is meant to have it, {grant} "
        "(`asyncjobs db sql --roles` makes the roles, and has to be run again after a migration)"
    )


def _role_for(query: str | None) -> str | None:
    """Return the least role that may run a statement of ours; None: it is not one of ours."""
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
    where = url_parts.server_of(url)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = getattr(error, "verify_message", message)
        return DatabaseError(
            f"the certificate of the server at {where} was refused: {why}; see sslmode and sslrootcert in database_url"
        )
    if isinstance(error, socket.gaierror):
        return DatabaseUnavailable(
            f"no answer from the database: there is no host {where} ({message}); see database_url"
        )
    return DatabaseUnavailable(f"no answer from the database at {where}: {message}")


def _remedy(state: str, url: str) -> str:
    if state == "3D000":
        return f": correct the name in database_url, or make it at {url_parts.server_of(url)} with `create database`"
    if state == "40P01":
        return (
            ": it and another transaction waited for each other, and this one was rolled back; do it again, and where one "
            "transaction enqueues several unique jobs or emits several events, have all do so in one order"
        )
    if state == "42P05":
        return (
            ": a pooler that gives sessions by the transaction stands between, and has this statement from somebody else; "
            "point database_url at the database itself, or at a port in session mode"
        )
    return ""


@contextmanager
def translating(url: str = "") -> Iterator[None]:
    """Turn errors of the driver and the link inside the block into `DatabaseError`s, with the cause attached."""
    try:
        yield
    except (asyncpg.PostgresError, *LINK_ERRORS) as error:
        raise translated(error, url=url) from error
