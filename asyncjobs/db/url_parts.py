"""What a database URL says that a message may repeat: where the server is, and who logs in."""

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


def login_of(url: str) -> str | None:
    """Return who logs in, quoted as SQL wants it; None where the URL leaves it open."""
    authority, parameters = _parts(url)
    user = unquote(authority.rpartition("@")[0].partition(":")[0]) or parameters.get("user") or os.environ.get("PGUSER")
    if not user or re.fullmatch("[a-z_][a-z0-9_]*", user):
        return user or None
    return '"{}"'.format(user.replace('"', '""'))


def misspelt(url: str) -> str | None:
    """Return a parameter of the URL that nobody knows, with what is perhaps meant; None: they are known, or are settings."""
    for name in _parts(url)[1]:
        if name not in KNOWN and "." not in name and (near := difflib.get_close_matches(name, KNOWN, 1, 0.7)):
            return f"the parameter {name} of database_url is unknown: did you mean {near[0]}?"
    return None


def _parts(url: str) -> tuple[str, dict[str, str]]:
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    return authority, parameters(url)
