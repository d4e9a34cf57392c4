"""Arguments of asyncpg for a URL: it knows most of libpq's parameters, and sends the others to the server as settings."""

from __future__ import annotations

import getpass
import os
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import asyncpg

from asyncjobs.db import url_parts
from asyncjobs.settings.url_parameters import OURS, number, parameters

_OF_SOCKET = {
    "keepalives": (socket.SOL_SOCKET, "SO_KEEPALIVE"),
    "keepalives_idle": (socket.IPPROTO_TCP, "TCP_KEEPIDLE"),
    "keepalives_interval": (socket.IPPROTO_TCP, "TCP_KEEPINTVL"),
    "keepalives_count": (socket.IPPROTO_TCP, "TCP_KEEPCNT"),
    "tcp_user_timeout": (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"),
}
_REFUSED_SETTING = ("42704", "22023")
"""SQLSTATEs: the server knows no such setting, or does not allow its value."""
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


def arguments(url: str, timeout: float) -> dict[str, Any]:
    """Return the arguments of `asyncpg.connect` for a URL whose parameters were checked.

    Args:
        url: A URL as libpq takes it.
        timeout: Seconds; a shorter `connect_timeout` of the URL counts instead.
    """
    found = parameters(url)
    kept = {name: value for name, value in found.items() if name not in OURS}
    given: dict[str, Any] = {"timeout": timeout}
    if seconds := max(number(found, "connect_timeout") or 0, 0):
        given["timeout"] = min(timeout, seconds)
    if kept.get("sslrootcert") == "system":
        given["ssl"] = _trusting_the_system(kept)
        for name in (*_FILES, "sslmode", "sslpassword"):
            kept.pop(name, None)
    on_socket = all(unquote(host).startswith("/") for host in url_parts.server_of(url).split(","))
    if on_socket or kept.get("sslmode") == "disable":
        given.update(ssl=False, direct_tls=False)  # whatever PGSSLMODE says: libpq uses no TLS there, either
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in kept.items())
    base = url.partition("?")[0]
    return {"dsn": f"{base}?{query}" if query else base, **given}


def tune(descriptor: int, url: str) -> None:
    """Set the URL's options of the socket that this system knows."""
    asked = {name: int(value) for name, value in parameters(url).items() if name in _OF_SOCKET}
    if not asked:
        return
    with socket.socket(fileno=os.dup(descriptor)) as link:
        if link.family not in (socket.AF_INET, socket.AF_INET6):
            return
        for name, value in asked.items():
            level, option = _OF_SOCKET[name]
            if hasattr(socket, option) and (value > 0 or name == "keepalives"):
                link.setsockopt(level, getattr(socket, option), value)


def problem(error: Exception, url: str) -> str | None:
    """Return what is wrong with the URL or a PG* variable, if that is the cause of a connection's error; else None."""
    if isinstance(error, asyncpg.PostgresError):
        if error.sqlstate not in _REFUSED_SETTING:
            return None
        remedy = (
            url_parts.misspelt(url)
            or "see the parameters of database_url: what is none of libpq's is a setting of the session"
        )
        return f"{error.message} (SQLSTATE {error.sqlstate}): {remedy}"
    if isinstance(error, OSError | KeyError):
        for name in _FILES:
            file = parameters(url).get(name)
            if file and file != "system" and not os.access(file, os.R_OK):
                return f"the file {Path(file)} cannot be read; see {name} in database_url"
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLCertVerificationError) and error.filename:
            return f"{error.filename}: {error.reason}"
        if url_parts.login_of(url) is None and not _has_name():
            return f"database_url names no user, and user {os.getuid()} of this machine has no name: add one"
        return None
    return f"database_url, or a PG* variable that completes it, cannot be used: {error}"


def _has_name() -> bool:
    try:
        return bool(getpass.getuser())
    except (KeyError, OSError, ImportError):
        return False


def _trusting_the_system(kept: dict[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if kept.get("sslcrl"):
        context.load_verify_locations(cafile=kept["sslcrl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if kept.get("sslcert"):
        context.load_cert_chain(kept["sslcert"], kept.get("sslkey"), kept.get("sslpassword"))
    return context
