"""Processes that use an embedded PostgreSQL, and what can be seen of them from outside."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support import warm
from tests.support.processes import PATIENCE, everybody, first_of

SCRIPT = Path(__file__).with_name("owner.py")
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


async def eventually(condition, seconds=PATIENCE):
    """Wait until `condition()` holds; fail when it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} did not come true in {seconds} s"
        await asyncio.sleep(0.01)


def postmasters(directory: Path) -> list[int]:
    """Live postmasters whose data directory is in `directory`."""
    return [
        pid for pid, words in processes() if "-D" in words and words[words.index("-D") + 1].startswith(f"{directory}/")
    ]


def processes():
    """Postmasters and initdbs: pids and words. What one has just forked is called like it for a moment, and is left out."""
    found = dict(_called_so())
    initdbs = [pid for pid, words in found.items() if words[0].endswith("/initdb")]
    kept = first_of(initdbs) + first_of([pid for pid in found if pid not in initdbs])
    return [(pid, found[pid]) for pid in kept]


def _called_so():
    for pid in everybody():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if command.partition(b"\0")[0].rpartition(b"/")[2] in (b"postgres", b"initdb"):
            yield pid, os.fsdecode(command).split("\0")


def states(pid):
    """The state of each thread of a process: the one that reaps children may stop after the first."""
    return [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]


def state(pid: int) -> str:
    """One letter, as ps shows it: Z is a zombie, T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def sockets_of(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


class Owner:
    """One such process; killed at the test's end if it still runs."""

    def __init__(self, directory, *, uid=-1, loop="asyncio", words=()):
        self.process = warm.start(
            [sys.executable, SCRIPT, directory, str(uid), loop, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def line(self) -> str:
        return (await asyncio.to_thread(self.process.stdout.readline)).strip()

    async def up(self) -> dict[str, str]:
        """What it said of its server."""
        said = await self.line()
        assert said, self.process.stderr.read()
        return json.loads(said)

    async def tell(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        if command == "stop":
            assert await self.line() == "stopped"

    async def leave(self) -> tuple[str, str]:
        """Let it stop and end; return what else it printed."""
        out, err = await asyncio.to_thread(self.process.communicate)
        return out, err

    async def kill(self, number=signal.SIGKILL) -> None:
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.communicate)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
