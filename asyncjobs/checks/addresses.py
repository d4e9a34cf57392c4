"""Addresses to listen on: `host:port`."""

from __future__ import annotations

import re
from typing import NamedTuple

_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/@]*)):(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """A host and a port."""

    host: str
    """Empty: every address of this machine."""
    port: int
    """0: one that is free."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: str) -> Address:
    """Read an address: `127.0.0.1:9000`, `[::1]:9000`, or `:9000` for every address of this machine.

    Raises:
        ValueError: It is none; the message is what to give.
    """
    found = _ADDRESS.fullmatch(text.strip())
    if found is None or int(found["port"]) > 65_535:
        raise ValueError("give host:port, such as 127.0.0.1:9000, or :9000 for every address of this machine")
    return Address(found["six"] or found["host"] or "", int(found["port"]))
