"""Python programs without the half second that a start and its imports cost: forked from a process that has both behind it.

What runs is what `python [flags] -m module` or a script would run: arguments, environment, directory, descriptors,
`sys.path`, `__main__`, signals and the way it ends are a new interpreter's; it is a child of this process. What is not, and
so no test of it may come here: modules are imported already, their code has run before the environment was this one's, and
`/proc/<pid>/cmdline` and `environ` are of the process that was forked. `Popen` starts a new interpreter wherever it finds
that it would make a difference. What `asyncjobs run` and `demo` start of themselves is forked as well.
"""

# ruff: noqa: PTH100, PTH118, PTH119, PTH120, PTH121, PTH208
import atexit
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from _pytest.config import default_plugins

from tests.support.forking import FORKING, Forked, ask, fork_apart, words_after_flags
from tests.support.processes import end_with_parent
from tests.support.warm_server import MOST, enter, take_terminal

PYTHON = sys.executable
SERVER = Path(__file__).with_name("warm_server.py")
PROGRAM = ("asyncjobs", "anyio._backends._asyncio", "uvloop", "tests.support.warm_texts")
"""Imported before a program that imports asyncjobs."""
COMMAND = (
    "asyncjobs.cli.application",
    "asyncjobs.cli.run",
    "asyncjobs.processes.forked_group",
    "asyncjobs.tasks.main_thread",
    "asyncjobs.operating_system.child_processes",
    "tests.support.warm_command",
    "tests.support.forking",
    "tests.support.oracle",
    "rich.console",
)
"""Besides, before `python -m asyncjobs`, and before what that has forked for jobs apart."""
DEMO = tuple(f"asyncjobs.demo.{name}" for name in ("jobs", "show", "sources", "views"))
"""Besides these, before `python -m asyncjobs demo`, and so in its worker."""
DJANGO = (
    "asyncjobs.integrations.django",
    "django.core.management.commands.migrate",
    "django.core.management.commands.shell",
    "django.db.backends.postgresql.base",
    "django_tasks",
)
"""Before a `manage.py`."""
PYTEST = ("pytest", *(f"_pytest.{name}" for name in default_plugins), "tests.support.warm_pytest")
"""Before `python -m pytest`: not the plugins themselves, whose assertions pytest rewrites as it imports them."""
WEB = ("fastapi", "uvicorn.main", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.lifespan.on")
"""Before `python -m uvicorn`."""
_BY_MODULE = {"asyncjobs": COMMAND, FORKING: COMMAND, "pytest": PYTEST, "uvicorn": WEB}
_OF_MODULES = ("", "py", "pyc")
"""How the names of files and directories end that an import takes, beside those of libraries."""
_HAVE_CHILDREN = ("run", "demo")
"""With these `asyncjobs` starts itself again, or what forks for jobs apart: what it starts is forked as well."""
FIRST = ("unshare", "--pid", "--fork", "--kill-child")
"""Before a command that is to be process 1 of a namespace."""
_MAKES_NO_DIFFERENCE = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONIOENCODING"}


class _Server:
    """A warm interpreter with some modules. One a process of the test run, started when it is first asked.

    Args:
        modules: What it has imported.
        flags: Of the interpreter.
        root: One that it is forked from, with the same flags; None: it is started.
    """

    def __init__(self, modules: Sequence[str], flags: Sequence[str], root: "_Server | None") -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        with theirs:
            if root is not None:
                self._environment = root._environment
                socket.send_fds(root._control, [pickle.dumps({"grow": modules})], [theirs.fileno()])
            else:
                self._environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
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
                    if name.partition(".")[2] in _OF_MODULES or name.endswith(".so")
                ):
                    return False
        return True

    def fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Start a child of this process; its id."""
        with self._one:
            return ask(self._control, request, descriptors)

    def close(self) -> None:
        self._control.shutdown(socket.SHUT_RDWR)  # whoever was forked from this process may have it still
        self._control.close()
        if self._process is not None:
            self._process.wait()


ROOT = Path(__file__).resolve().parents[2]
_servers: dict[tuple[tuple[str, ...], tuple[str, ...]], _Server] = {}
_starting = threading.Lock()


def _of_interpreters(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter or the C library reads at its start."""
    begins = ("PYTHON", "LC_", "LANG", "LD_", "TZ", "MALLOC", "TYPER_")
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(begins) and name not in _MAKES_NO_DIFFERENCE
    }


def start(
    args: Sequence[Any],
    *,
    ends_with_parent: bool = False,
    terminal: bool = False,
    cgroup: Path | None = None,
    ignoring: signal.Signals | None = None,
    closing: Sequence[int] = (),
    first: bool = False,
    anew: bool = False,
    **options: Any,
) -> "subprocess.Popen[Any]":
    """Start `[sys.executable, *flags, "-m" | script, …]`; a new interpreter where that makes a difference.

    Args:
        args: The words of the command.
        ends_with_parent: It gets SIGKILL when this process dies.
        terminal: Its standard input is a terminal, which is to control it and its session.
        cgroup: The directory of the one that it is to be in with all that it starts; None: this process's.
        ignoring: A signal that is ignored when it begins.
        closing: Those of its standard streams that are closed.
        first: It is process 1 of a namespace, behind one that ends as it does.
        anew: It is a new interpreter in any case.
        options: As of `subprocess.Popen`.

    Returns:
        A `Forked` one if it is from a warm interpreter.
    """
    command = [os.fspath(word) for word in args]
    given = {"terminal": terminal, "cgroup": cgroup and str(cgroup), "ignoring": ignoring, "closing": tuple(closing)}
    asked = {"ends_with_parent": ends_with_parent, **given}
    if not anew and (server := _server_for(command, options)) is not None:
        # What forks children would not be in the namespace.
        has_children = not first and any(word in _HAVE_CHILDREN for word in command)
        return Forked(server.fork, command, {**asked, "first": first, "has_children": has_children}, **options)
    command = [*(FIRST if first else ()), *command]
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


def fork_forking_processes() -> None:
    """Have those of workers in this process forked as well, from now on and whatever bytecode it may write."""
    fork_apart(lambda args, options: start([word for word in args if word != "-B"], **options))


def _server_for(command: list[str], options: Mapping[str, Any]) -> _Server | None:
    """The warm interpreter that may fork for a command; None: it needs a new one."""
    words = words_after_flags(command)
    known = {"stdin", "stdout", "stderr", "cwd", "env", "start_new_session", "text", "bufsize", "pass_fds"}
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
    if words[0] == "-m":
        modules = DEMO if words[1:3] == ["asyncjobs", "demo"] else _BY_MODULE.get(words[1], PROGRAM)
    else:
        modules = DJANGO if os.path.basename(words[0]) == "manage.py" else PROGRAM
    flags = tuple(command[1 : -len(words)])
    with _starting:
        server = _warm(modules, flags)
    return server if server.is_so_for(environment, path) else None


def _warm(modules: tuple[str, ...], flags: tuple[str, ...]) -> _Server:
    if (server := _servers.get((modules, flags))) is None:
        root = None if modules == PROGRAM else _warm(COMMAND if modules == DEMO else PROGRAM, flags)
        server = _servers[modules, flags] = _Server(modules, flags, root)
    return server


def _network() -> Path | None:
    return Path("/proc/thread-self/ns/net").readlink() if sys.platform == "linux" else None


_HERE = _network()


def _before(
    *,
    ends_with_parent: bool,
    terminal: bool,
    cgroup: str | None,
    ignoring: signal.Signals | None,
    closing: tuple[int, ...],
) -> Callable[[], None] | None:
    ending = end_with_parent(signal.SIGKILL)

    def prepare() -> None:
        if cgroup is not None:
            enter(cgroup)
        if ignoring is not None:
            signal.signal(ignoring, signal.SIG_IGN)
        if terminal:
            take_terminal()
        if ends_with_parent:
            ending()
        for number in closing:
            os.close(number)

    return prepare if any((terminal, ends_with_parent, cgroup, ignoring, closing)) else None
