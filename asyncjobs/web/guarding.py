"""Who may come in: loopback alone without `auth`, same origin for what changes something, and the headers of each answer."""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from asyncjobs.checks.texts import cut, written_out
from asyncjobs.web.refusals import Refused

Auth: TypeAlias = Callable[[Request], "Answer | Awaitable[Answer]"]
"""Takes a request; see `AsyncJobs.dashboard`."""
Answer: TypeAlias = bool | str | Response | None

MOST_NAME = 200
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
_FORWARDED = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
    "cf-connecting-ip",
)
"""Headers that a proxy adds: then it is not known who asks."""
_GIVE_AUTH = (
    "Give the dashboard a function that says who may see it, as in jobs.dashboard(auth=allow) or "
    "`asyncjobs web --auth app.web.allow`; it takes the request and returns True, or a name for the audit."
)


async def admitted(request: Request, auth: Auth | None) -> str | Response:
    """Return who asks, or the answer that `auth` has given.

    Raises:
        Refused: He may not.
    """
    if auth is None:
        _check_loopback(request)
        return _address(request)
    answer = auth(request)
    if inspect.isawaitable(answer):
        answer = await answer
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, str) and answer:
        return cut(written_out(answer), MOST_NAME)
    if answer is not True:  # (False, "why"), an object of an error: what is not known to let him in does not
        raise Refused(403, "Not allowed", "The application does not let you see its jobs.")
    return _address(request)


def _address(request: Request) -> str:
    return "unknown" if request.client is None else request.client.host


def _check_loopback(request: Request) -> None:
    """Refuse what does not come straight from this machine, from a browser that means this machine."""
    server, client = request.scope.get("server"), request.scope.get("client")
    if not (_is_loopback(server and server[0]) and _is_loopback(client and client[0])):
        raise Refused(
            403, "Only from this machine", f"This dashboard has no auth, and so answers on loopback alone. {_GIVE_AUTH}"
        )
    # HTTP/1.0 is how nginx asks unless it is told otherwise; no browser does.
    if request.scope.get("http_version") == "1.0" or any(name in request.headers for name in _FORWARDED):
        raise Refused(
            403,
            "Behind a proxy",
            f"This came through a proxy, and the dashboard has no auth: so anybody may have sent it. {_GIVE_AUTH}",
        )
    # A page of another site whose name was made to lead here would send its own name.
    if not _names_loopback(request.headers.get("host", "")):
        raise Refused(
            403,
            "Another name",
            f"This dashboard has no auth, and answers to localhost, 127.0.0.1 and [::1] alone. {_GIVE_AUTH}",
        )


def _is_loopback(host: Any) -> bool:
    try:
        address = ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _names_loopback(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _server_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def check_origin(request: Request) -> None:
    """Refuse a form that another site has sent.

    Raises:
        Refused: It comes from another origin, or says not from which.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        # The browser compares origins itself; it knows its own address, also behind a proxy that changes Host.
        same = site == "same-origin"
    else:
        host = request.headers.get("host")
        same = origin is None or (host is not None and _server_of(origin) == host.lower())
    if not same:
        raise Refused(
            403,
            "From another site",
            "A form of another site may change nothing here. Open the page here, and send it from there.",
        )
