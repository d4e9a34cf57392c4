"""Child processes that never outlive the test run."""

import asyncio
import ctypes
import inspect
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.warm_server import COPY

POLL = 0.02
"""Seconds between two looks at a file or a child. The standard library has no inotify; the wait itself is bounded."""
SLOWEST_POLL = 0.1
"""Where it has been waited for long: a look at the database takes a millisecond of a core."""

PATIENCE = 60.0
"""Seconds after which a wait for what must come is given up: only a product that hangs meets it, however busy the machine."""

SLACK = 20.0
"""Seconds that a busy machine may add to a time that is promised."""

_PR_SET_PDEATHSIG = 1


def end_with_parent(end_signal: signal.Signals, user: pwd.struct_passwd | None = None) -> Callable[[], None]:
    """Make a `preexec_fn`: become *user*, and get *end_signal* when the parent dies, even by SIGKILL."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
    except OSError:
        libc = None

    def prepare() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)  # before prctl: a change of credentials clears the parent-death signal
        if libc is not None and hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, int(end_signal))

    return prepare


async def before_next_look(began: float) -> None:
    """Sleep until the next look at what is waited for since *began* of the monotonic clock."""
    await asyncio.sleep(min(max(POLL, (time.monotonic() - began) / 20), SLOWEST_POLL))


async def until_so(condition: Callable[[], object]) -> Any:
    """Look again and again until what *condition*, `def` or `async def`, gives is true; that.

    Raises:
        TimeoutError: It was not, for longer than any machine takes.
    """
    began = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not (found := await given if inspect.isawaitable(given := condition()) else given):
            await before_next_look(began)
    return found


async def until(condition: Callable[[], bool], timeout: float = PATIENCE) -> bool:
    """Look again and again until *condition* holds; False when *timeout* seconds have passed."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + timeout:
            return False
        await before_next_look(began)
    return True


def group_lives(group: int) -> bool:
    """Whether a process of the group still runs. Zombies do not: an orphan's wait for an init that may never look."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # there is one, of another user
    return any(its_group == group for _pid, _parent, its_group in _running())


def children(parent: int) -> set[int]:
    """The processes that *parent* has started and that run still."""
    return {pid for pid, its_parent, _group in _running() if its_parent == parent}


def first_of(pids: Sequence[int]) -> list[int]:
    """Those that none of the others has started: what a program has just forked is called like it for a moment."""
    return [pid for pid, parent, _group in _running(_stats(pids)) if parent not in pids]


def alive(*pids: int) -> bool:
    """Whether any of them runs still."""
    return any(_running(_stats(pids)))


def everybody() -> Iterator[int]:
    """The ids of all processes there are."""
    return (int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal())


def _stats(pids: Iterable[int]) -> Iterable[Path]:
    return (Path(f"/proc/{pid}/stat") for pid in pids)


def _running(stats: Iterable[Path] | None = None) -> Iterator[tuple[int, int, int]]:
    for stat in _stats(everybody()) if stats is None else stats:
        try:
            name, _, rest = stat.read_text().rpartition(")")
            state, parent, group = rest.split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX" and not name.endswith(f"({COPY}"):
            yield int(stat.parent.name), int(parent), int(group)


async def run(command: Sequence[str], *, user: pwd.struct_passwd | None = None, timeout: float = 60) -> str:
    """Run *command* to its end and give back its output.

    Raises:
        RuntimeError: It failed; the message has what it printed.
    """
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        preexec_fn=end_with_parent(signal.SIGKILL, user),
    )
    try:
        output, _ = await asyncio.to_thread(process.communicate, timeout=timeout)
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}: {output}")
    return output
