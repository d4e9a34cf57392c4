"""Database URLs: checked, and shown without their passwords."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from asyncjobs.settings.url_parameters import check_parameters

_FORM = "postgresql://user:password@host/database"


def check_database_url(url: str) -> str:
    """Refuse a text that is no PostgreSQL URL. Empty is allowed: it means the embedded server.

    Raises:
        ValueError: Never with the URL itself, since the error may be about where its password begins.
    """
    if not url:
        return url
    scheme, separator, rest = url.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise ValueError(f"not a URL; give {_FORM}")
    if scheme not in {"postgres", "postgresql"}:
        if scheme.startswith(("postgresql+", "postgres+")):
            raise ValueError(f'"{scheme}" names a driver, as SQLAlchemy does; write "postgresql" alone: give {_FORM}')
        raise ValueError(f'"{scheme}" is not supported; asyncjobs needs PostgreSQL: give {_FORM}')
    if re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(f"the URL holds white space; percent-encode it (a space is %20), in the form {_FORM}")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest[len(authority) :]
    if _may_hold_login(authority, beyond):
        raise ValueError(
            f"the URL cannot be split safely; write / ? # @ : in the password as %2F %3F %23 %40 %3A: {_FORM}"
        )
    _check_hosts(authority.rpartition("@")[2])
    check_parameters(url)
    return url


def _may_hold_login(authority: str, beyond: str) -> bool:
    """Whether an unescaped / ? or # of a password may have ended the host early, so that its rest looks like a path.

    After the host, an @ is allowed only in a parameter's value, and only if it cannot be the login's own @.
    """
    path, _, query = beyond.partition("?")
    loose = any("@" in parameter.partition("=")[0] for parameter in query.split("&"))
    login_missing = ":" in authority and "@" not in authority
    return "#" in beyond or "@" in path or loose or ("@" in query and login_missing)


def safe_database_url(url: str) -> str:
    """Return the URL for logs and messages: user, hosts and database as they are, passwords as `***`."""
    scheme, separator, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, at, hosts = authority.rpartition("@")
    user, colon, _ = login.partition(":")
    beyond = re.sub(r"([?&])([^=&]*)=([^&]*)", _without_secret, rest[len(authority) :])
    return f"{scheme}{separator}{user}{colon and ':***'}{at}{hosts}{beyond}"


def _without_secret(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    is_secret = "passw" in unquote(name).lower()  # names may be percent-encoded as well
    return f"{mark}{name}={'***' if is_secret else value}"


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
