"""A program that a warm interpreter forks, as a child of the process that asks for it: see `tests.support.warm`."""

# ruff: noqa: PTH100
import asyncio
import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Fork = Callable[[dict[str, Any], Sequence[int]], int]
"""Has a warm interpreter fork for a request with its descriptors; the child's id."""

FORKING = "asyncjobs.processes.forking"
"""The module of the process that forks for jobs apart."""
_PR_SET_CHILD_SUBREAPER = 36
_TAKES_WORD = ("-X", "-W")


def ask(control: socket.socket, request: dict[str, Any], descriptors: Sequence[int]) -> int:
    """Have the warm interpreter behind a socket fork a child of this process, which is its parent; the child's id."""
    with _subreaper():
        socket.send_fds(control, [pickle.dumps(request)], list(descriptors))
        if not (answer := control.recv(64)):
            raise RuntimeError("the warm interpreter has ended")
        return int(answer)


@contextlib.contextmanager
def _subreaper() -> Iterator[None]:
    """Take processes in that lose their parent: for moments only, since those of a worker's are init's."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def words_after_flags(command: Sequence[str]) -> list[str]:
    words = list(command[1:])
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c"):
        del words[: 2 if words[0] in _TAKES_WORD else 1]
    return words


class Forked(subprocess.Popen[Any]):
    """A program that is forked from a warm interpreter.

    Args:
        fork: Of that.
        command: Its words.
        asked: What else that is to know.
        options: As of `subprocess.Popen`.
    """

    def __init__(self, fork: Fork, command: Sequence[str], asked: Mapping[str, Any], **options: Any) -> None:
        self._fork = fork
        self._asked = dict(asked)
        super().__init__(command, **options)

    def _execute_child(self, args: Any, _executable: Any, _preexec: Any, _close: Any, passed: Any, cwd: Any, env: Any,
                       _info: Any, _flags: Any, _shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,
                       errread: int, errwrite: int, *more: Any) -> None:  # fmt: skip
        """Start the program: what `subprocess.Popen` does between making the pipes and closing the child's ends of them."""
        *_, start_new_session, _process_group = more
        self._asked |= {
            "command": args,
            "words": words_after_flags(args),
            "parent": os.getpid(),
            "cwd": os.path.abspath(cwd or os.curdir),
            "environment": dict(os.environ if env is None else env),
            "session": start_new_session,
            "numbers": [0, 1, 2, *passed],
        }
        theirs = [number if each == -1 else each for number, each in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = self._fork(self._asked, [*theirs, *passed])
        inner: Any = self  # what these are called is the same in every Python since 3.9
        inner._child_created = True
        inner._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


class OfLoop:
    """A process on an event loop: what `asyncio.create_subprocess_exec` returns, without its streams.

    Args:
        process: The same, on no loop.
    """

    def __init__(self, process: "subprocess.Popen[Any]") -> None:
        self.pid = process.pid
        self.kill = process.kill
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._watched = os.pidfd_open(process.pid)
        self._loop.add_reader(self._watched, self._end)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        await self._ended.wait()
        return self._process.wait()

    def _end(self) -> None:
        self._loop.remove_reader(self._watched)
        os.close(self._watched)
        self._process.wait()
        self._ended.set()


def fork_apart(fork: Callable[[Sequence[str], dict[str, Any]], "subprocess.Popen[Any] | None"]) -> None:
    """Have the forking processes of workers in this process forked, from now on.

    Args:
        fork: Makes one, of the words of its command and options as of `subprocess.Popen`; None: it is started.
    """
    new: Any = asyncio.create_subprocess_exec

    async def start(*args: Any, **options: Any) -> Any:
        if FORKING in args and (process := fork(args, options)) is not None:
            return OfLoop(process)
        return await new(*args, **options)

    asyncio.create_subprocess_exec = start


def fork_children(control: socket.socket, flags: Sequence[str]) -> None:
    """Have this process's children that are `python [flags] -P -m asyncjobs…` forked by the interpreter behind a socket.

    What starts one goes by `subprocess.Popen`, asyncio's own loop among it, but for uvloop, on which workers start their
    forking processes.
    """
    new: Any = subprocess.Popen
    ours = [[sys.executable, *flags, *safe, "-m"] for safe in ([], ["-P"])]

    def forked(args: Sequence[str], options: dict[str, Any]) -> "subprocess.Popen[Any] | None":
        words = next((list(args[len(each) :]) for each in ours if list(args[: len(each)]) == each), [""])
        if words[0].partition(".")[0] != "asyncjobs":
            return None
        asked: dict[str, Any] = dict.fromkeys(("ends_with_parent", "terminal", "cgroup", "ignoring", "first"))
        asked |= {"closing": (), "has_children": "run" in words}
        return Forked(lambda *request: ask(control, *request), list(args), asked, **options)

    def start(args: Any, **options: Any) -> "subprocess.Popen[Any]":
        return forked(args, options) or new(args, **options)

    subprocess.Popen = start
    fork_apart(forked)
