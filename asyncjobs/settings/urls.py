"""Database URLs: which are taken, and how one is shown without its password."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_FORM = "postgresql://user:password@host/database"


def check_database_url(url: str) -> str:
    """Refuse what is no PostgreSQL URL. Empty is fine: the embedded server.

    Raises:
        ValueError: Never with the URL itself, since where its password begins is what may be wrong with it.
    """
    if not url:
        return url
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ValueError(f"not a URL; give {_FORM}")
    if scheme not in {"postgres", "postgresql"}:
        raise ValueError(f'"{scheme}" is not supported; asyncjobs needs PostgreSQL: give {_FORM}')
    if re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(f"the URL holds white space; percent-encode it (a space is %20), in the form {_FORM}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    if "#" in beyond or ("@" in beyond and "@" not in authority and ":" in authority):
        # Unescaped, the password's / ? or # would end the host, and the password's rest become the database's name.
        raise ValueError(
            f"the URL cannot be split safely; write / ? # @ : in the password as %2F %3F %23 %40 %3A: {_FORM}"
        )
    _check_hosts(authority.rpartition("@")[2])
    return url


def safe_database_url(url: str) -> str:
    """The URL for logs and messages: user, hosts and database as they are, passwords as `***`."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    user, colon, _ = login.partition(":")
    beyond = re.sub(r"(?i)([?&][^=&]*passw[^=&]*=)[^&]*", r"\1***", rest[len(authority) :])
    return f"{scheme}{separator}{user}{colon and ':***'}{at}{hosts}{beyond}"


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(","):
        try:
            port = urlsplit(f"//{host}").port
        except ValueError:
            port = 0
        if port == 0:
            raise ValueError(
                f"a host or port in the URL is invalid; give host or host:port (1 to 65535), as in {_FORM}"
            )
