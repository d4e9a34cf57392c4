"""One connection through the proxy: a client, an upstream, and a pump each way."""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from tests.support import wire
from tests.support.faults import Direction, Where

if TYPE_CHECKING:
    from tests.support.proxy import Proxy


class Link:
    """Made by the proxy for each client that connects.

    Attributes:
        name: Its application_name; None until the startup packet has come, and for a cancel request.
        gate: Open while the link is not frozen. Nothing passes a closed gate, not even the news that a side has gone.
        executes: The SQL that the client's last message executes, or None.
    """

    def __init__(self, proxy: "Proxy", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.name: str | None = None
        self.gate = asyncio.Event()
        self.executes: str | None = None
        self.is_cut = False
        self._proxy = proxy
        self._delays: list[asyncio.Task[None]] = []
        self._reader = self._delayed(reader)
        self._writer = writer
        self._upstream: asyncio.StreamWriter | None = None
        self._statements = wire.Statements()

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            await self.gate.wait()
            with contextlib.suppress(EOFError, OSError):
                await self._connect()
        finally:
            for delay in self._delays:
                delay.cancel()
            for writer in (self._writer, self._upstream):
                if writer is not None:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

    def cut(self) -> None:
        """End it with RST towards the client; the server gets what was sent, then the end."""
        if self.is_cut:
            return
        self.is_cut = True
        self.count("cut")
        self._reset()
        if self._upstream is not None:
            self._upstream.close()
        self.gate.set()

    def chosen_by(self, where: Where) -> bool:
        return where is None or (self.name is not None and where(self.name))

    def count(self, what: str) -> None:
        self._proxy.count(what)

    async def _connect(self) -> None:
        packet = await wire.read_packet(self._reader)
        while packet.type in {"ssl", "gss"}:
            self._writer.write(b"N")
            packet = await wire.read_packet(self._reader)
        if packet.type == "startup":
            self.name = wire.application_name(packet)
            self._proxy.introduced(self)
        await self.gate.wait()
        if self.is_cut:
            return
        if (error := self._proxy.refusal(self)) is not None:
            self._refuse(error)
            return
        await self._forward(packet)

    async def _forward(self, first: wire.Message) -> None:
        try:
            reader, self._upstream = await self._proxy.open_upstream()
        except OSError:  # no server: the nearest that an accepted connection can come to being refused
            self._reset()
            return
        if await self._hand_on(first, self._upstream, "to_server") and not self.is_cut:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(self._reader, self._upstream, "to_server"))
                pumps.create_task(self._pump(self._delayed(reader), self._writer, "to_client"))

    def _delayed(self, source: asyncio.StreamReader) -> asyncio.StreamReader:
        """What comes from a side, as late as the proxy says by then."""
        late = asyncio.StreamReader()

        async def feed() -> None:
            loop, due = asyncio.get_running_loop(), 0.0
            with contextlib.suppress(OSError):  # a reset is an end to those who read messages
                while chunk := await source.read(2**16):
                    due = max(due, loop.time() + self._proxy.delay)  # in order though the delay becomes less
                    loop.call_at(due, late.feed_data, chunk)
            loop.call_at(max(due, loop.time()), late.feed_eof)

        self._delays.append(asyncio.create_task(feed()))
        return late

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, direction: Direction) -> None:
        try:
            while not self.is_cut:
                message = await wire.read_message(source)
                await self.gate.wait()
                await self._hand_on(message, sink, direction)
        except (EOFError, OSError):
            await self.gate.wait()
        finally:
            sink.close()

    async def _hand_on(self, message: wire.Message, sink: asyncio.StreamWriter, direction: Direction) -> bool:
        if direction == "to_server" and message.type != "startup":
            self.executes = self._statements.follow(message)
        faults = [fault for fault in self._proxy.faults if self.chosen_by(fault.where)]
        if self.is_cut or not all(fault.passes(self, direction, message) for fault in faults):
            return False
        sink.write(message.raw)
        await sink.drain()
        self.count(direction)
        self.count(f"{direction}:{message.type}")
        for fault in faults:
            fault.passed(self, direction, message)
        return True

    def _refuse(self, error: tuple[str, str] | None) -> None:
        self.count("refused")
        if error:
            self._writer.write(wire.fatal_error(*error))
        else:
            self._reset()

    def _reset(self) -> None:
        peer: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends RST
        self._writer.transport.abort()
