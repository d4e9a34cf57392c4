"""Parts of a database URL that may stand in messages: the server, the database and the login."""

from __future__ import annotations

import difflib
import os
import re
from urllib.parse import unquote

from asyncjobs.settings.url_parameters import KNOWN, parameters


def server_of(url: str) -> str:
    """Return the server's hosts and ports, or the socket's directory."""
    authority, parameters = _parts(url)
    return authority.rpartition("@")[2] or parameters.get("host") or os.environ.get("PGHOST") or "localhost"


def database_of(url: str) -> str:
    """Return the name of the database; empty where the URL has none."""
    authority, parameters = _parts(url)
    path = url.partition("://")[2].removeprefix(authority).partition("?")[0]
    return unquote(path.strip("/")) or parameters.get("dbname", "")


def login_of(url: str) -> str | None:
    """Return the login, quoted for SQL; None if neither the URL nor PGUSER names it."""
    authority, parameters = _parts(url)
    user = unquote(authority.rpartition("@")[0].partition(":")[0]) or parameters.get("user") or os.environ.get("PGUSER")
    if not user or re.fullmatch("[a-z_][a-z0-9_]*", user):
        return user or None
    return '"{}"'.format(user.replace('"', '""'))


def misspelt(url: str) -> str | None:
    """Return a sentence on an unknown parameter of the URL that resembles a known one; None: there is none."""
    for name in _parts(url)[1]:
        if name not in KNOWN and "." not in name and (near := difflib.get_close_matches(name, KNOWN, 1, 0.7)):
            return f"the parameter {name} of database_url is unknown: did you mean {near[0]}?"
    return None


def _parts(url: str) -> tuple[str, dict[str, str]]:
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return authority, parameters(url)
