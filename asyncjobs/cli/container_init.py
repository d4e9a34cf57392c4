"""What a command needs that is the first process of a container, or has been given no standard streams."""

from __future__ import annotations

import os
import signal
import sys

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def open_missing_streams() -> None:
    """Put /dev/null in the place of each standard stream that is closed.

    Else the next descriptor that is opened is one of them: libuv aborts at the end of such a one, and what a program prints
    goes to a socket.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def leave_orphans_to_this_process() -> None:
    """As process 1, go on in a child, and be what process 1 has to be: the one that reaps whatever has lost its parent.

    In the worker itself nobody could tell an orphan from a child that a job, asyncio or `subprocess` waits for.
    """
    if os.getpid() != 1:
        return
    numbers = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    if (child := os.fork()) == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        received = signal.sigwaitinfo(numbers)
        if received.si_signo == signal.SIGCHLD:
            if (status := _reaped(child)) is not None:
                code = os.waitstatus_to_exitcode(status)
                os._exit(128 - code if code < 0 else code)
        elif received.si_code <= 0:  # what a terminal sends, the child has got as well
            os.kill(child, received.si_signo)


def _reaped(child: int) -> int | None:
    """Reap all that have ended; return the status of `child` if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = status
