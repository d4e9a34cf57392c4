"""The protection of the link to the database, in words."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from asyncjobs.db import url_parts
from asyncjobs.db.reading import Server
from asyncjobs.settings.url_parameters import parameters

_VERIFIED = ("verify-full", "verify-ca")


def state(server: Server, url: str) -> str:
    """Return the protection of the link, such as "TLSv1.3, certificate not verified"."""
    if not server.tls:
        return "no TLS, Unix socket" if server.address is None and is_local(server, url) else "no TLS"
    mode = ssl_mode(url)
    return f"{server.tls_version}, {mode if mode in _VERIFIED else 'certificate not verified'}"


def warning(server: Server, url: str) -> str | None:
    """Return a warning when the link leaves this machine and the server's certificate is not verified; else None."""
    if is_local(server, url) or (server.tls and ssl_mode(url) == "verify-full"):
        return None
    return (
        f"the link to {url_parts.server_of(url)} has {state(server, url)}: anybody in between can read and change jobs; "
        "add sslmode=verify-full (and sslrootcert=…) to database_url"
    )


def is_local(server: Server, url: str) -> bool:
    """Whether the whole link is on this machine, by the hosts of the URL and by what the server sees of the link.

    The server sees only a pooler or proxy on its own machine, whatever lies before that.
    """
    if server.address is not None and not ipaddress.ip_address(server.address).is_loopback:
        return False
    return all(map(_is_here, url_parts.server_of(url).split(",")))


def _is_here(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname if not host.startswith(("/", "%2F", "%2f", "@")) else None
    if name is None or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def ssl_mode(url: str) -> str:
    """Return the `sslmode` of the URL; libpq's and asyncpg's default is "prefer"."""
    given = parameters(url)
    if given.get("sslrootcert") == "system":
        return "verify-full"
    return given.get("sslmode") or os.environ.get("PGSSLMODE", "prefer")
