"""The jobs of the fault tests' workers. Each tells the oracle when it begins and how it ends.

A gate is a file: the job goes on once it is there, so that a test decides when a job ends.
"""

import asyncio
import builtins
import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path

from asyncjobs import Job, current_job, errors, job
from tests.support import oracle
from tests.support.oracle import WORKER_VARIABLE
from tests.support.processes import POLL, until

FOR_EVER = 600.0


def where() -> str:
    """The name of the worker that this runs on."""
    return os.environ.get(WORKER_VARIABLE, "")


async def opened(gate: str) -> None:
    assert await until(Path(gate).exists, FOR_EVER)


@job(kind="faults.tiny")
async def tiny(n: int = 0) -> str:
    with oracle.interval(current_job(), n=n):
        return where()


@job(kind="faults.loop")
async def which_loop() -> str:
    with oracle.interval(current_job()):
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@job(kind="faults.clock")
async def clock() -> float:
    """What this worker takes for the time."""
    with oracle.interval(current_job()):
        return time.time()


@job(kind="faults.sturdy_nap", max_crashes=1_000)
async def sturdy_nap(seconds: float) -> str:
    """As `nap`, and is run again however many of its workers are killed."""
    with oracle.interval(current_job()):
        await asyncio.sleep(seconds)
        return where()


@job(kind="faults.nap")
async def nap(seconds: float) -> str:
    with oracle.interval(current_job()):
        await asyncio.sleep(seconds)
        return where()


@job(kind="faults.hold")
async def hold(gate: str) -> str:
    with oracle.interval(current_job()):
        await opened(gate)
        return where()


@job(kind="faults.ignore")
async def ignore(gate: str) -> str:
    """Takes no notice of being cancelled."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            try:
                await opened(gate)
            except asyncio.CancelledError:
                oracle.note(current_job(), "ignored")
        return where()


@job(kind="faults.block")
async def block(gate: str) -> str:
    """Holds the event loop, as a call that should have been made in a thread does."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            time.sleep(POLL)
        return where()


@job(kind="faults.block_apart")
async def block_apart(gate: str) -> str:
    """The same, with a gate for each worker, named after it."""
    with oracle.interval(current_job()):
        while not Path(f"{gate}-{where()}").exists():
            time.sleep(POLL)
        return where()


@job(kind="faults.block_for")
async def block_for(seconds: float) -> str:
    with oracle.interval(current_job()):
        time.sleep(seconds)
        return where()


@job(kind="faults.block_in_child")
async def block_in_child(gate: str) -> None:
    """The same, in a task that it starts."""

    async def child() -> None:
        while not Path(gate).exists():
            time.sleep(POLL)

    with oracle.interval(current_job()):
        async with asyncio.TaskGroup() as group:
            group.create_task(child(), name="a child")


@job(kind="faults.compute")
async def compute(numbers: int) -> int:
    """Holds the interpreter, too: one call into C code that lets no other thread run."""
    with oracle.interval(current_job()):
        return sum(range(numbers))


@job(kind="faults.keep_interpreter", max_crashes=10)
async def keep_interpreter(fifo: str) -> str:
    """Waits in C code with the interpreter held, in the worker that is told to: no thread of it runs meanwhile.

    Until somebody opens the FIFO for writing.
    """
    with oracle.interval(current_job()):
        if where() == "keeps":
            ctypes.PyDLL(None).open(fifo.encode(), os.O_RDONLY)
        return where()


@job(kind="faults.turn")
async def turn(gate: str) -> None:
    """Keeps the loop busy, in turns of 0.1 s."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            end = time.thread_time() + 0.1
            while time.thread_time() < end:
                pass
            await asyncio.sleep(0)


@job(kind="faults.block_in_log")
async def block_in_log(gate: str) -> None:
    """Holds the loop in a log handler, with that handler's lock."""

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            while not Path(gate).exists():
                time.sleep(POLL)

    slow = Slow()
    logging.getLogger().addHandler(slow)
    with oracle.interval(current_job()):
        logging.getLogger("faults").warning("this takes long")
        logging.getLogger().removeHandler(slow)


@job(kind="faults.thread")
def thread(gate: str) -> str:
    """Notes that it was told to stop, and goes on until the gate opens."""
    me = current_job()
    told = False
    with oracle.interval(me):
        while not Path(gate).exists():
            if me.stopping and not told:
                told = True
                oracle.note(me, "told")
            time.sleep(POLL)
        return where()


@job(kind="faults.throw")
async def throw(error: str) -> None:
    with oracle.interval(current_job()):
        raise exception_named(error)


@job(kind="faults.throw_in_thread")
def throw_in_thread(error: str) -> None:
    with oracle.interval(current_job()):
        raise exception_named(error)


@job(kind="faults.later")
async def later(n: int, wait: float) -> None:
    """Enqueues another job that is due in a while, from where this runs."""
    with oracle.interval(current_job()):
        await tiny(n).set(wait=wait).enqueue()


def die(how: str) -> None:
    """End this process as a crash does."""
    match how:
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        case "SIGSEGV":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "OOM":
            held = []
            while True:
                held.append(b"x" * 2**24)


@job(kind="faults.waits_for_another")
async def waits_for_another() -> str:
    """Gives its slot back meanwhile."""
    with oracle.interval(current_job()):
        return await (await tiny().enqueue())


@job(kind="faults.says")
async def says(text: str) -> None:
    with oracle.interval(current_job()):
        logging.getLogger("faults").warning(text)


@job(kind="faults.bomb")
async def bomb(how: str, delay: float = 0.05) -> None:
    """Ends its process, and everybody's in it."""
    with oracle.interval(current_job()):
        await asyncio.sleep(delay)
        die(how)


@job(kind="faults.bomb_once", max_crashes=1)
async def bomb_once(how: str) -> None:
    with oracle.interval(current_job()):
        die(how)


@bomb_once.after_discard
def told(lost: Job[None], error: BaseException) -> None:
    oracle.note(lost, f"discarded {type(error).__name__}")


@job(kind="faults.apart", executor="process")
def apart(gate: str) -> int:
    """Runs in a process of its own until the gate opens; returns that process's id."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            time.sleep(POLL)
        return os.getpid()


@job(kind="faults.spin", executor="process", timeout=0.5)
def spin(gate: str) -> None:
    """Computes for ever, in a process of its own."""
    with oracle.interval(current_job()):
        while not Path(gate).exists():
            pass


def exception_named(name: str) -> BaseException:
    return asyncio.CancelledError() if name == "CancelledError" else getattr(builtins, name)(7)


@job(kind="faults.logs_apart", executor="process")
def logs_apart() -> str:
    """Logs what cannot be logged, as a typing error would have it, and what can."""
    own = logging.getLogger("faults")
    own.warning("%d of them", "seven")
    own.warning("with what cannot be sent", extra={"odd": lambda: None})
    own.warning("a line from pid %d", os.getpid())
    return "went on"


@job(kind="faults.puts_off", executor="process")
def puts_off(path: str) -> None:
    """Leaves to the end of its process what takes longer there than its worker waits for it."""

    class Slow:
        def write(self, text: str) -> None: ...

        def flush(self) -> None:
            time.sleep(0.3)
            Path(f"{path}-printed").touch()

    sys.stdout = Slow()
    errors.add_flush(Path(f"{path}-reported").touch)
