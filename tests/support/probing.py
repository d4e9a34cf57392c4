"""Requests to a worker's probes."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NamedTuple

from tests.support.processes import PATIENCE, before_next_look


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str

    @property
    def facts(self) -> Any:
        return json.loads(self.body)


async def address_of(worker: Any) -> int:
    """The port at which a worker says that it answers."""
    line = await worker.wait_for_log("probes are answered at http://")
    return int(re.findall(r"probes are answered at http://\S*:(\d+)", line or worker.log)[0])


async def send(port: int, request: bytes) -> bytes:
    """What comes back before the connection ends."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


async def ask(port: int, path: str, method: str = "GET") -> Told:
    found = await send(port, f"{method} {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    head, _, body = found.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return Told(int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body)


async def until_answered(port: int, path: str, status: int) -> Told:
    """Ask until the answer has that status."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(PATIENCE):
        while (found := await ask(port, path)).status != status:
            await before_next_look(began)
    return found
