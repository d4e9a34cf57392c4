"""What protects the link to the database, in words."""

from __future__ import annotations

import ipaddress
import os

from asyncjobs.db.reading import Server
from asyncjobs.settings.url_parameters import parameters

_VERIFIED = ("verify-full", "verify-ca")


def state(server: Server, url: str) -> str:
    """Return the protection of the link, such as "TLSv1.3, certificate not verified"."""
    if not server.tls:
        return "no TLS, Unix socket" if server.address is None else "no TLS"
    mode = ssl_mode(url)
    return f"{server.tls_version}, {mode if mode in _VERIFIED else 'certificate not verified'}"


def warning(server: Server, url: str) -> str | None:
    """Return what is wrong when the link leaves this machine and nobody checks who answers; else None."""
    if is_local(server) or (server.tls and ssl_mode(url) == "verify-full"):
        return None
    return (
        f"the link to {server.address} has {state(server, url)}: whoever stands between can read and change jobs; "
        "add sslmode=verify-full (and sslrootcert=…) to database_url"
    )


def is_local(server: Server) -> bool:
    """Whether the server answers on this machine: by a Unix socket or a loopback address."""
    return server.address is None or ipaddress.ip_address(server.address).is_loopback


def ssl_mode(url: str) -> str:
    """Return the `sslmode` that is asked for; libpq's and asyncpg's default is "prefer"."""
    given = parameters(url)
    if given.get("sslrootcert") == "system":
        return "verify-full"
    return given.get("sslmode") or os.environ.get("PGSSLMODE", "prefer")
