"""A process that has imported asyncjobs, and forks one for each program that it is asked to run: see `tests.support.warm`.

It has one thread, no event loop and no handler of logs. What is forked goes on as the interpreter does after its start.
"""

# ruff: noqa: PTH100, PTH109, PTH120, PTH208
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
from typing import Any

MOST = 1 << 18
"""Bytes of a request."""
DESCRIPTORS = 3
_PR_SET_PDEATHSIG = 1


def serve(control: socket.socket, ours: list[str]) -> dict[str, Any]:
    """Fork for each request; return in the forked process, with the request. End when nobody asks any more."""
    while True:
        data, descriptors, *_ = socket.recv_fds(control, MOST, DESCRIPTORS)
        if not data:
            os._exit(0)
        request = pickle.loads(data)
        # Twice, so that it is taken for its own child by whoever has asked, a subreaper for as long: see `warm`.
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            _become_child_of(request["parent"])
            if request["session"]:
                os.setsid()
            control.send(b"%d" % os.getpid())
            control.close()
            sys.path[:] = ours
            _take_descriptors(descriptors)
            return request
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become_child_of(parent: int) -> None:
    while os.getppid() != parent:
        os.sched_yield()  # until the one between has ended, of which nothing tells but this


def _take_descriptors(given: list[int]) -> None:
    """Make them 0, 1 and 2, and close all others."""
    for number, each in enumerate(given):  # none of them is one of these: the server has all three open
        os.dup2(each, number)
    os.closerange(DESCRIPTORS, max(map(int, os.listdir("/proc/self/fd"))) + 1)


def prepare(request: dict[str, Any]) -> None:
    """Make of a forked process what the interpreter makes of a new one, all but running the program."""
    if request["terminal"]:
        take_terminal()
    if request["ends_with_parent"]:
        _end_with(request["parent"])
    os.chdir(request["cwd"])
    for name in set(os.environ) - set(request["environment"]):
        del os.environ[name]
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams(unbuffered=bool(os.environ.get("PYTHONUNBUFFERED")))
    given = [os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = list(dict.fromkeys([*given, *sys.path]))
    importlib.invalidate_caches()
    gc.enable()


def take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _end_with(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _open_streams(*, unbuffered: bool) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        raw = io.FileIO(number, "w" if number else "r", closefd=False)
        raw.name = f"<{name}>"
        buffered = io.BufferedReader(raw) if not number else raw if unbuffered else io.BufferedWriter(raw)
        text: Any = io.TextIOWrapper(
            buffered,
            before.encoding,
            before.errors,
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


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: whoever has started this ends it
    gc.disable()
    control = socket.socket(fileno=int(sys.argv[1]))
    here = os.path.dirname(os.path.realpath(__file__))
    ours = [entry for entry in sys.path if entry != here]
    sys.path[:] = [os.path.dirname(os.path.dirname(here)), *ours]  # what is tested, whatever is installed
    for name in sys.argv[2:]:
        importlib.import_module(name)
    control.send(pickle.dumps(sorted({name.partition(".")[0] for name in sys.modules} - {"__main__"})))
    gc.collect()
    gc.freeze()  # so that no look for garbage copies what is shared
    request = serve(control, ours)
    prepare(request)
    run(request["command"], request["words"])


if __name__ == "__main__":
    main()
