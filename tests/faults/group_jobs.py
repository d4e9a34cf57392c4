"""Jobs that start processes of their own, each in a way that libraries and users do. They tell the oracle their ids."""

import multiprocessing
import os
import signal
import socket
import subprocess
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

import anyio.from_thread

from asyncjobs import current_job, job
from asyncjobs.operating_system import forks
from tests.faults.jobs import FOR_EVER, tiny
from tests.support import oracle
from tests.support.processes import until_so

FORK = multiprocessing.get_context("fork")


def started(*pids: int | None) -> None:
    for pid in pids:
        oracle.note(current_job(), "started", child=pid)


def nap() -> None:
    time.sleep(FOR_EVER)


def pool() -> None:
    with FORK.Pool(2) as made:
        started(*(process.pid for process in made._pool))
        made.map(time.sleep, [FOR_EVER] * 2)


def executor() -> None:
    with ProcessPoolExecutor(1, mp_context=FORK) as made:
        future = made.submit(time.sleep, FOR_EVER)
        started(*made._processes)
        future.result()


def daemon() -> None:
    process = FORK.Process(target=nap, daemon=True)
    process.start()
    started(process.pid)
    nap()


def grandchild() -> None:
    """Forked and its parent gone: it holds every descriptor that was open."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        if (pid := os.fork()) == 0:
            nap()
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.wait()
    started(int(os.read(reading, 20)))
    nap()


def program() -> None:
    """Started with every descriptor that is not closed on exec, as os.system does."""
    started(subprocess.Popen(["sleep", "600"], close_fds=False).pid)
    nap()


WAYS = {way.__name__: way for way in (pool, executor, daemon, grandchild, program)}


@job(kind="groups.going_on", executor="process")
def going_on(how: str) -> None:
    oracle.note(current_job(), "leads", child=os.getpid())
    WAYS[how]()


@job(kind="groups.limited", executor="process", timeout=1)
def limited(how: str) -> None:
    oracle.note(current_job(), "leads", child=os.getpid())
    WAYS[how]()


@job(kind="groups.dies", executor="process", max_crashes=1)
def dies(how: str) -> None:
    """Is killed while what it has started lives."""
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    WAYS[how]()


@job(kind="groups.leaves", executor="process")
def leaves() -> int:
    """Returns, and leaves a process behind that does as it is told and one that does not."""
    deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"])
    process = FORK.Process(target=nap)
    process.start()
    started(deaf.pid, process.pid)
    return os.getpid()


@job(kind="groups.closes", executor="process", max_crashes=1)
def closes() -> None:
    """Closes what it does not know, as a daemon does, and returns."""
    os.closerange(3, 1024)


@job(kind="groups.terminates", executor="process")
def terminates() -> int | None:
    return terminated()


@job(kind="groups.terminates_in_worker")
def terminates_in_worker() -> int | None:
    return terminated()


def terminated() -> int | None:
    """How processes end that are terminated as soon as they are there, perhaps before they have any code of theirs running."""
    code = None
    for _ in range(20):
        process = FORK.Process(target=nap)
        process.start()
        process.terminate()
        process.join(10)
        code = process.exitcode
        process.kill()
        if code != -signal.SIGTERM:
            break
    return code


@job(kind="groups.inherits")
def inherits() -> list[int]:
    """How many links to the database are open here, and in a process that is forked here."""
    reading, writing = os.pipe()
    # One that is just being opened is not known yet.
    anyio.from_thread.run(until_so, lambda: all(map(forks.has_descriptor, linked())))
    if os.fork() == 0:
        try:
            os.write(writing, bytes([links()]))
        finally:
            os._exit(0)
    os.wait()
    return [links(), os.read(reading, 1)[0]]


def links() -> int:
    return len(linked())


def linked() -> list[int]:
    found = []
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as link:
            found += [number] if link.getpeername() else []  # one of a pair has no name
    return found


@job(kind="groups.handles", executor="process")
def handles() -> list[object]:
    """What Python allows in the main thread only, beside all that a `def` job may do."""
    caught: list[int] = []
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
    signal.signal(signal.SIGUSR1, lambda number, _: caught.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    enqueued = anyio.from_thread.run(tiny(7).enqueue)
    inner = anyio.from_thread.run(plain().perform_now)
    return [
        [handler is default for handler, default in zip(before, DEFAULTS, strict=True)],
        caught,
        str(enqueued.id) != "",
        inner,
        current_job().attempt,
        threading.current_thread() is threading.main_thread(),
    ]


DEFAULTS = (signal.SIG_DFL, signal.default_int_handler, signal.SIG_DFL)


@job(kind="groups.plain")
def plain() -> str:
    return "performed inside"
