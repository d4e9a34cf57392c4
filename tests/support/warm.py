"""Python programs without the half second that a start and its imports cost: forked from a process that has both behind it.

What runs is what `python [flags] -m module` or a script would run: arguments, environment, directory, descriptors,
`sys.path`, `__main__`, signals and the way it ends are a new interpreter's; it is a child of this process. What is not, and
so no test of it may come here: modules are imported already, their code has run before the environment was this one's, and
`/proc/<pid>/cmdline` and `environ` are of the process that was forked. `Popen` starts a new interpreter wherever it finds
that it would make a difference.
"""

# ruff: noqa: PTH100, PTH118, PTH120, PTH121, PTH208
import atexit
import contextlib
import ctypes
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _pytest.config import default_plugins

from tests.support.processes import end_with_parent
from tests.support.warm_server import MOST, take_terminal

PYTHON = sys.executable
SERVER = Path(__file__).with_name("warm_server.py")
PROGRAM = ("asyncjobs", "anyio._backends._asyncio", "uvloop")
"""Imported before a program that imports asyncjobs."""
COMMAND = ("asyncjobs.cli.application", "asyncjobs.cli.run", "rich.console", *PROGRAM)
"""Before `python -m asyncjobs`."""
PYTEST = (
    "pytest",
    *(f"_pytest.{name}" for name in default_plugins),
    "asyncpg",
    "pydantic_settings",
    "orjson",
    "uvloop",
)
"""Before `python -m pytest`: nothing whose assertions pytest rewrites as it is imported, which plugins and theirs are."""
_BY_MODULE = {"asyncjobs": COMMAND, "pytest": PYTEST}
_PR_SET_CHILD_SUBREAPER = 36
_TAKES_WORD = ("-X", "-W")
_MAKES_NO_DIFFERENCE = {"PYTHONPATH", "PYTHONUNBUFFERED"}


class _Server:
    """A warm interpreter with some flags and modules. One a process of the test run, started when it is first asked."""

    def __init__(self, flags: tuple[str, ...], modules: tuple[str, ...]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
        with theirs:
            self._process = subprocess.Popen(
                [PYTHON, *flags, str(SERVER), str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
            )
        self._imported = frozenset(pickle.loads(self._control.recv(MOST)))
        self._one = threading.Lock()
        atexit.register(self.close)

    def is_so_for(self, environment: Mapping[str, str], path: Sequence[str]) -> bool:
        """Whether a new interpreter would read the same from an environment, and import the same modules from its path."""
        if _of_interpreters(environment) != _of_interpreters(self._environment):
            return False
        for directory in path:
            with contextlib.suppress(OSError):
                if not os.path.samefile(directory, ROOT) and any(
                    name.partition(".")[0] in self._imported or name.startswith(("sitecustomize", "usercustomize"))
                    for name in os.listdir(directory)
                ):
                    return False
        return True

    def fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Start a child of this process; its id."""
        with self._one, _subreaper():
            socket.send_fds(self._control, [pickle.dumps(request)], list(descriptors))
            if not (answer := self._control.recv(64)):
                raise RuntimeError("the warm interpreter has ended")
            return int(answer)

    def close(self) -> None:
        self._control.shutdown(socket.SHUT_RDWR)  # whoever was forked from this process may have it still
        self._control.close()
        self._process.wait()


ROOT = Path(__file__).resolve().parents[2]
_servers: dict[tuple[tuple[str, ...], ...], _Server] = {}
_starting = threading.Lock()


def _of_interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter or the C library reads at its start."""
    begins = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "MALLOC", "TYPER_")
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(begins) and name not in _MAKES_NO_DIFFERENCE
    }


@contextlib.contextmanager
def _subreaper() -> Iterator[None]:
    """Take processes in that lose their parent: for moments only, since those of a worker's are init's."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0)


class Forked(subprocess.Popen[Any]):
    """A program that is forked from a warm interpreter.

    Args:
        server: That.
        command: Its words.
        asked: What else the server is to know.
        options: As of `subprocess.Popen`.
    """

    def __init__(self, server: _Server, command: Sequence[str], asked: Mapping[str, Any], **options: Any) -> None:
        self._server = server
        self._asked = dict(asked)
        super().__init__(command, **options)

    def _execute_child(self, args: Any, _executable: Any, _preexec: Any, _close: Any, _pass: Any, cwd: Any, env: Any,
                       _info: Any, _flags: Any, _shell: Any, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,
                       errread: int, errwrite: int, *more: Any) -> None:  # fmt: skip
        """Start the program: what `subprocess.Popen` does between making the pipes and closing the child's ends of them."""
        *_, start_new_session, _process_group = more
        self._asked |= {
            "command": args,
            "words": _words_after_flags(args),
            "parent": os.getpid(),
            "cwd": os.path.abspath(cwd or os.curdir),
            "environment": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        theirs = [number if each == -1 else each for number, each in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = self._server.fork(self._asked, theirs)
        inner: Any = self  # what these are called is the same in every Python since 3.9
        inner._child_created = True
        inner._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)


def start(
    args: Sequence[Any], *, ends_with_parent: bool = False, terminal: bool = False, anew: bool = False, **options: Any
) -> "subprocess.Popen[Any]":
    """Start `[sys.executable, *flags, "-m" | script, …]`; a new interpreter where that makes a difference.

    Args:
        args: The words of the command.
        ends_with_parent: It gets SIGKILL when this process dies.
        terminal: Its standard input is a terminal, which is to control it and its session.
        anew: It is a new interpreter in any case.
        options: As of `subprocess.Popen`.

    Returns:
        A `Forked` one if it is from a warm interpreter.
    """
    command = [os.fspath(word) for word in args]
    asked = {"ends_with_parent": ends_with_parent, "terminal": terminal}
    if not anew and (server := _server_for(command, options)) is not None:
        return Forked(server, command, asked, **options)
    return subprocess.Popen(command, **options, preexec_fn=_before(**asked))


def run(
    args: Sequence[Any], *, input: Any = None, timeout: float | None = None, check: bool = False, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """As `subprocess.run`; without one its input is empty, and its output is captured unless it is to go elsewhere."""
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    with start(args, **options) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def _server_for(command: list[str], options: Mapping[str, Any]) -> _Server | None:
    """The warm interpreter that may fork for a command; None: it needs a new one."""
    words = _words_after_flags(command)
    known = {"stdin", "stdout", "stderr", "cwd", "env", "start_new_session", "text", "bufsize"}
    if sys.platform != "linux" or command[0] != PYTHON or not words or not known >= set(options):
        return None
    if _network() != _HERE:
        return None  # another network namespace than that of what would fork it
    directory = os.path.abspath(options.get("cwd") or os.curdir)
    if words[0] != "-m":
        if not words[0].endswith(".py"):
            return None  # a program that has no file draws a name when asyncjobs is imported
        directory = os.path.dirname(os.path.realpath(os.path.join(directory, words[0])))
    environment = os.environ if (given := options.get("env")) is None else given
    elsewhere = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    path = [directory, *(os.path.join(directory, each) for each in elsewhere)]
    modules = _BY_MODULE.get(words[1], PROGRAM) if words[0] == "-m" else PROGRAM
    kind = tuple(command[1 : -len(words)]), modules
    with _starting:
        if (server := _servers.get(kind)) is None:
            server = _servers[kind] = _Server(*kind)
    return server if server.is_so_for(environment, path) else None


def _network() -> Path | None:
    return Path("/proc/thread-self/ns/net").readlink() if sys.platform == "linux" else None


_HERE = _network()


def _words_after_flags(command: Sequence[str]) -> list[str]:
    words = list(command[1:])
    while words and words[0].startswith("-") and words[0] not in ("-m", "-c"):
        del words[: 2 if words[0] in _TAKES_WORD else 1]
    return words


def _before(*, ends_with_parent: bool, terminal: bool) -> Callable[[], None] | None:
    ending = end_with_parent(signal.SIGKILL)

    def prepare() -> None:
        if terminal:
            take_terminal()
        if ends_with_parent:
            ending()

    return prepare if terminal or ends_with_parent else None
