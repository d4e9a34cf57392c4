"""The database of Django's settings, as a URL for workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings.url_parameters import TAKEN

_FROM_KEYS = frozenset({"host", "port", "user", "password", "dbname", "database"})


def url_of(alias: str, database: Mapping[str, Any]) -> str:
    """Return the URL of an entry of `DATABASES`, with the password; its OPTIONS that concern Django alone are left out.

    Raises:
        InvalidSettings: It is no PostgreSQL.
    """
    if "postg" not in str(database.get("ENGINE", "")):  # postgresql, and PostGIS
        problem = (
            f"DATABASES[{alias!r}] is {database.get('ENGINE') or 'not set'}: asyncjobs needs PostgreSQL; set its ENGINE to "
            '"django.db.backends.postgresql", or name another database in OPTIONS: {"database": …}'
        )
        raise InvalidSettings([problem])
    options = database.get("OPTIONS") or {}
    user, password = (quote(str(database.get(key) or ""), safe="") for key in ("USER", "PASSWORD"))
    login = f"{user}{':' if password else ''}{password}@" if user or password else ""
    host, port, name = (str(database.get(key) or "") for key in ("HOST", "PORT", "NAME"))
    taken = {key: str(value) for key, value in options.items() if key in TAKEN and key not in _FROM_KEYS}
    if host.startswith("/"):  # the directory of a socket
        taken["host"], host = host, ""
    if port and not host:
        taken["port"], port = port, ""
    place = f"[{host}]" if ":" in host else host
    query = f"?{urlencode(taken, quote_via=quote)}" if taken else ""
    return f"postgresql://{login}{place}{f':{port}' if port else ''}/{quote(name, safe='')}{query}"
