"""Parameters of a database URL: which of libpq's are taken, and the remedies for the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
}
_NUMBERS = {
    **dict.fromkeys(
        ("connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"), "seconds or a count"
    ),
    "keepalives": "0 or 1",
    "tcp_user_timeout": "milliseconds",
}
_NO, _YES = ("0", "off", "false", "no"), ("1", "on", "true", "yes")
_DEFAULTS = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("auto", "utf8", "utf-8", "unicode"),
    "gssdelegation": _NO,
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "max_protocol_version": ("3.0", "3.2", "latest"),
    "min_protocol_version": ("3.0",),
    "replication": _NO,
    "requiressl": _NO,
    "sslcertmode": ("allow",),
    "sslcompression": (*_NO, *_YES),
    "sslsni": _YES,
}
"""Values that ask for nothing beyond the usual."""
_REMEDIES = {
    "channel_binding": "asyncpg has none; write sslmode=verify-full in its place, which proves who answers",
    "client_encoding": "everything is sent as UTF8; remove it",
    "hostaddr": "give the address as the host",
    "load_balance_hosts": "hosts are tried in the order in which they are given; remove it",
    "passphrase": "write sslpassword",
    "pgbouncer": 'remove it: a pooler in transaction mode is found, or named by pooler = "transaction" in the config',
    "replication": "asyncjobs needs a session of its own, no replication; remove it",
    "requiressl": "write sslmode=require",
    "schema": "remove it: everything of asyncjobs is in the schema asyncjobs",
    "ssl": "write sslmode=require",
    "sslcrldir": "write sslcrl=… with one file",
}
_FOREIGN = {
    "Prisma": ("pgbouncer", "schema", "connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size"),
    "JDBC": ("ssl", "sslfactory", "currentSchema", "prepareThreshold", "loginTimeout"),
    "SQLAlchemy": ("prepared_statement_cache_size", "async_fallback"),
    "node-postgres": ("uselibpqcompat",),
}
_WHOSE = {name: whose for whose, names in _FOREIGN.items() for name in names}
_REFUSED = (
    *("hostaddr", "require_auth", "requirepeer", "sslcrldir", "sslkeylogfile", "scram_client_key", "scram_server_key"),
    *("oauth_issuer", "oauth_client_id", "oauth_client_secret", "oauth_scope"),
)
TAKEN = (
    *("host", "port", "user", "password", "dbname", "database", "passfile", "service", "krbsrvname", *_CHOICES),
    *(
        "sslcert",
        "sslkey",
        "sslrootcert",
        "sslcrl",
        "sslpassword",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
    ),
)
"""Parameters that the driver knows."""
OURS = (*_NUMBERS, *_DEFAULTS, "application_name", "fallback_application_name")
"""Parameters that are kept from the driver, which would send them to the server as settings."""
KNOWN = (
    *(*TAKEN, *OURS, "options", "search_path", "statement_timeout", "lock_timeout", "timezone"),
    "idle_in_transaction_session_timeout",
)
"""Names to suggest for one that the server does not know."""


def parameters(url: str) -> dict[str, str]:
    """Return the parameters of a URL by name; of two with one name, the last."""
    return dict(parse_qsl(url.partition("://")[2].partition("?")[2], keep_blank_values=True))


def check_parameters(url: str) -> None:
    """Refuse parameters that cannot be used; one that is not libpq's is a setting of the session, which the server checks.

    Raises:
        ValueError: With the parameter's name and the remedy; never with the URL.
    """
    query = url.partition("://")[2].partition("?")[2]
    for part in query.split("&") if query else ():
        if "=" not in part:
            raise ValueError(f"the URL's parameter {part.partition('%')[0]!r} has no value: write name=value")
    found = parameters(url)
    for name, value in found.items():
        _check(name, value)
    if found.get("sslrootcert") == "system" and found.get("sslmode", "verify-full") != "verify-full":
        raise ValueError("the URL's sslrootcert=system goes with sslmode=verify-full alone: write that")


def _check(name: str, value: str) -> None:
    if (choices := _CHOICES.get(name)) and value not in choices:
        raise ValueError(f"the URL's {name} is {value!r}: give one of {', '.join(choices)}")
    if (kind := _NUMBERS.get(name)) and not re.fullmatch("-?[0-9]{1,9}", value):
        raise ValueError(f"the URL's {name} is {value!r}: give a whole number, {kind}")
    if name == "port" and not re.fullmatch("[0-9]{1,5}(,[0-9]{1,5})*", value):
        raise ValueError(
            f"the URL's port is {value!r}: give a number from 1 to 65535, or one for each host with commas"
        )
    defaults = _DEFAULTS.get(name)
    if name in _REFUSED or (defaults is not None and value.lower() not in defaults):
        remedy = _REMEDIES.get(name, "the driver, asyncpg, cannot do it; remove it")
        raise ValueError(f"the URL's {name}{_shown(name, value)} is not supported: {remedy}")
    if whose := _WHOSE.get(name):
        remedy = _REMEDIES.get(name, "remove it")
        raise ValueError(f"the URL's {name} is a parameter of {whose}, none of PostgreSQL's: {remedy}")


def _shown(name: str, value: str) -> str:
    return "" if name in _REFUSED else f"={value[:40]}"


def number(found: Mapping[str, str], name: str) -> int | None:
    """Return a parameter that is a number; None when it is not given."""
    return int(found[name]) if name in found else None
