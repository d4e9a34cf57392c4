"""Sockets that probes are asked on."""

from __future__ import annotations

import logging
import socket

from asyncjobs.checks.addresses import Address, read_address
from asyncjobs.exceptions import InvalidSettings
from asyncjobs.operating_system import forks

logger = logging.getLogger("asyncjobs.probes")

BACKLOG = 32


def listen(http: str) -> socket.socket:
    """Return a socket that listens at an address of the settings.

    Raises:
        InvalidSettings: The address is taken, or is none of this machine.
    """
    address = read_address(http)
    try:
        listening = _bound(address)
    except OSError as error:
        problem = (
            f"http: cannot listen on {address} ({error.strerror or error}): is another process of this machine there, "
            "perhaps a second worker with the same settings? give each a port of its own, or run them as one, with "
            "`asyncjobs run --processes`"
        )
        raise InvalidSettings([problem]) from None
    listening.setblocking(False)
    forks.keep_descriptor(listening.fileno())
    at = Address(*listening.getsockname()[:2])
    logger.info("probes are answered at http://%s", at, extra={"http": str(at)})
    return listening


def _bound(address: Address) -> socket.socket:
    if not address.host:
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        return socket.create_server(("", address.port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    [family, *_], *_ = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
