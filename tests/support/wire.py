"""PostgreSQL's protocol, as far as a proxy must read it: where messages end, who connects, which SQL is executed."""

import asyncio
import struct
from dataclasses import dataclass

CANCEL, SSL, GSS = 80877102, 80877103, 80877104
_PACKETS = {CANCEL: "cancel", SSL: "ssl", GSS: "gss"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came."""

    type: str
    """Its letter; `startup`, `cancel`, `ssl` or `gss` for the first packets, which have none."""
    body: bytes
    """What follows the length."""
    raw: bytes
    """All of it."""


async def read_packet(reader: asyncio.StreamReader) -> Message:
    """Read a packet without a letter: the first ones of a connection. EOFError at the end."""
    head = await reader.readexactly(4)
    body = await reader.readexactly(_length(head))
    code = struct.unpack("!i", body[:4])[0] if len(body) >= 4 else 0
    return Message(_PACKETS.get(code, "startup"), body, head + body)


async def read_message(reader: asyncio.StreamReader) -> Message:
    """Read a message with a letter: all others. EOFError at the end."""
    head = await reader.readexactly(5)
    body = await reader.readexactly(_length(head[1:]))
    return Message(chr(head[0]), body, head + body)


def application_name(startup: Message) -> str:
    """The `application_name` of a startup packet; empty when it has none."""
    words = startup.body[4:].split(b"\0")
    parameters = dict(zip(words[::2], words[1::2], strict=False))
    return parameters.get(b"application_name", b"").decode(errors="replace")


def fatal_error(code: str, text: str) -> bytes:
    """An ErrorResponse, as a server sends it before it hangs up."""
    fields = b"".join(
        letter + value.encode() + b"\0"
        for letter, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", text))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"


class Statements:
    """Knows which SQL text an Execute runs, from the Parse and Bind before it."""

    def __init__(self) -> None:
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def follow(self, message: Message) -> str | None:
        """Take the client's next message; the SQL it executes, None when it executes nothing."""
        match message.type:
            case "Q":
                return message.body.rstrip(b"\0").decode(errors="replace")
            case "P":
                name, text = message.body.split(b"\0", 2)[:2]
                self._prepared[name] = text.decode(errors="replace")
            case "B":
                portal, name = message.body.split(b"\0", 2)[:2]
                self._portals[portal] = self._prepared.get(name, "")
            case "E":
                return self._portals.get(message.body.split(b"\0", 1)[0], "")
        return None


def _length(field: bytes) -> int:
    length = struct.unpack("!i", field)[0]
    if length < 4:
        raise ConnectionError(f"a message of length {length}: the stream is out of step")
    return length - 4
