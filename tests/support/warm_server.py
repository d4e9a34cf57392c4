"""A process that has imported asyncjobs, and forks one for each program that it is asked to run: see `tests.support.warm`.

It has one thread, no event loop and no handler of logs. What is forked goes on as the interpreter does after its start.
"""

# ruff: noqa: PTH100, PTH109, PTH120, PTH208
import atexit
import codecs
import contextlib
import ctypes
import fcntl
import gc
import importlib
import io
import os
import pickle
import runpy
import signal
import socket
import sys
import types
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

MOST = 1 << 18
"""Bytes of a request."""
DESCRIPTORS = 8
"""The most that a request comes with."""
COPY = "warm copy"
"""What `ps` shows of those that a program's children are forked from."""
CLONE_NEWPID = 0x20000000
_PR_SET_PDEATHSIG = 1
_WARM: set[str] = set()
"""The modules that are imported beforehand, but for those that the end of an interpreter itself uses."""

libc = ctypes.CDLL(None, use_errno=True)


def serve(control: socket.socket, ours: list[str]) -> dict[str, Any]:
    """Fork for each request; return in the forked process, with the request. End when nobody asks any more.

    What is forked to import more goes on here, with a socket of its own.
    """
    while True:
        data, descriptors, *_ = socket.recv_fds(control, MOST, DESCRIPTORS)
        if not data:
            os._exit(0)
        request = pickle.loads(data)
        if modules := request.get("grow"):
            if os.fork() == 0:
                control.close()
                control = socket.socket(fileno=descriptors[0])
                get_ready(control, modules)
            else:
                os.close(descriptors[0])
            continue
        # Twice, so that it is taken for its own child by whoever has asked, a subreaper for as long: see `warm`.
        between = os.fork()
        if between == 0:
            between = os.getpid()
            if os.fork():
                os._exit(0)
            _become_child_of(request["parent"], between, own_session=request["session"])
            _be_called("python3")
            if request["cgroup"] is not None:
                enter(request["cgroup"])
            control.send(b"%d" % os.getpid())
            control.close()
            sys.path[:] = ours
            _take_descriptors(descriptors, request["numbers"])
            return request
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_child_of(parent: int, between: int, *, own_session: bool) -> None:
    try:
        group = os.getpgid(parent)
        while (now := os.getppid()) != parent:
            if now != between:
                raise ProcessLookupError  # it was killed, and is perhaps not reaped: then it still has its group
            os.sched_yield()  # until the one between has ended, of which nothing tells but this
        score = Path(f"/proc/{parent}/oom_score_adj").read_text()
    except (ProcessLookupError, FileNotFoundError):
        os._exit(1)  # whoever has asked is gone
    if own_session:
        os.setsid()
    elif group != os.getpgid(0):
        os.setpgid(0, group)
    if score != (own := Path("/proc/self/oom_score_adj")).read_text():
        own.write_text(score)


def enter(cgroup: str) -> None:
    """Put this process into a cgroup, by its directory."""
    Path(cgroup, "cgroup.procs").write_text("0")


def become_first() -> None:
    """Go on as process 1 of a namespace, as behind `unshare --pid --fork --kill-child`, whose part this process takes."""
    if libc.unshare(CLONE_NEWPID):
        raise OSError(ctypes.get_errno(), "no namespace can be made")
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(code)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_called(name: str) -> None:
    Path("/proc/self/comm").write_text(name)


def _take_descriptors(given: list[int], numbers: list[int]) -> None:
    """Make them those of these numbers, and close all others."""
    above = max(*given, *numbers) + 1
    for each, number in zip([fcntl.fcntl(each, fcntl.F_DUPFD, above) for each in given], numbers, strict=True):
        os.dup2(each, number)
    for each in map(int, os.listdir("/proc/self/fd")):
        if each not in numbers:
            with contextlib.suppress(OSError):  # the directory's own
                os.close(each)


def leave_one_that_forks(request: dict[str, Any], ours: list[str]) -> dict[str, Any]:
    """Have the children of this program forked by one that is as this process is now; in those children, their request.

    It is a child of this process and ends after it, in a group of its own and with none of its descriptors: no signal to
    this one's reaches it, and nobody who looks whether that lives, or for children of this one, finds it.
    """
    asking, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if child := os.fork():
        os.setpgid(child, child)
        control.close()
        words = request["command"]
        sys.modules["tests.support.forking"].fork_children(asking, words[1 : len(words) - len(request["words"])])
        return request
    _be_called(COPY)
    asking.close()
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in request["numbers"]:
        os.dup2(nothing, each)
    os.close(nothing)
    return serve(control, ours)


def prepare(request: dict[str, Any]) -> None:
    """Make of a forked process what the interpreter makes of a new one, all but running the program."""
    if request["terminal"]:
        take_terminal()
    if request["ends_with_parent"]:
        _end_with(request["parent"])
    if request["first"]:
        become_first()
    for number in request["closing"]:
        os.close(number)
    os.chdir(request["cwd"])
    for name in set(os.environ) - set(request["environment"]):
        del os.environ[name]
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["ignoring"] is not None:
        signal.signal(request["ignoring"], signal.SIG_IGN)
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    _open_streams(encoding, errors, unbuffered=bool(os.environ.get("PYTHONUNBUFFERED")))
    given = [os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = list(dict.fromkeys([*given, *sys.path]))
    importlib.invalidate_caches()
    gc.enable()


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _end_with(parent: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _open_streams(encoding: str, errors: str, *, unbuffered: bool) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        if not Path(f"/proc/self/fd/{number}").exists():
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
            continue
        raw = io.FileIO(number, "w" if number else "r", closefd=False)
        raw.name = f"<{name}>"
        buffered = io.BufferedReader(raw) if not number else raw if unbuffered else io.BufferedWriter(raw)
        text: Any = io.TextIOWrapper(
            buffered,
            codecs.lookup(encoding).name if encoding else before.encoding,
            before.errors if number == 2 else errors or ("strict" if encoding else before.errors),
            line_buffering=not unbuffered and (number == 2 or os.isatty(number)),
            write_through=unbuffered,
        )
        text.mode = "w" if number else "r"
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def run(command: list[str], words: list[str]) -> None:
    """Run `-m module …` or `script.py …`, the words of a command after the flags, as the interpreter does."""
    sys.orig_argv = command
    main: Any = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    main.__builtins__ = sys.modules["builtins"]
    main.__annotations__ = {}
    if words[0] == "-m":
        sys.argv = ["-m", *words[2:]]
        if "-P" not in command[: -len(words)]:
            sys.path.insert(0, os.getcwd())
        running: Any = runpy  # run_module would put another module in the place of __main__, and clear that at its end
        running._run_module_as_main(words[1])
    else:
        sys.argv = words
        script = os.path.abspath(words[0])
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))
        main.__loader__ = SourceFileLoader("__main__", script)
        main.__file__ = script
        main.__cached__ = None
        with io.open_code(script) as file:
            code = compile(file.read(), script, "exec")
        exec(code, main.__dict__)


def get_ready(control: socket.socket, modules: list[str]) -> None:
    """Import modules, and say what is imported then."""
    for name in modules:
        importlib.import_module(name)
    control.send(pickle.dumps(sorted({name.partition(".")[0] for name in sys.modules} - {"__main__"})))
    _WARM.update(sys.modules.keys() - {"sys", "builtins", "__main__", "io", "_io", "warnings"})
    gc.collect()
    gc.freeze()  # so that no look for garbage copies what is shared


def leave_modules() -> None:
    """Leave those that were imported beforehand as they are at the end: to clear seven hundred takes 25 ms of a core.

    What the program has made, and imported itself, ends as it would.
    """
    warm = {name: sys.modules.pop(name) for name in _WARM & sys.modules.keys()}
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(warm))


def main() -> None:
    atexit.register(leave_modules)  # the first to be registered is the last to be called
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever has started this ends it
    gc.disable()
    control = socket.socket(fileno=int(sys.argv[1]))
    here = os.path.dirname(os.path.realpath(__file__))
    ours = [entry for entry in sys.path if entry != here]
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *ours]  # what is tested, whatever is installed
    get_ready(control, sys.argv[2:])
    request = serve(control, ours)
    while request.pop("has_children", False):
        request = leave_one_that_forks(request, ours)
    prepare(request)
    run(request["command"], request["words"])


if __name__ == "__main__":
    main()
