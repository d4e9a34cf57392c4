"""What a process that a job forks must not have of this one: our descriptors and our signal handlers.

`multiprocessing` forks by default on Linux, up to Python 3.13. With our connections open in such a process, the server takes
a killed worker for alive; with our handlers, `terminate()` does nothing there. A program that is started has neither. A
connection is known here once it is open: of one that is being opened while a job forks, the job's process has a copy.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

_STREAMS = 3
_descriptors: dict[int, tuple[int, int]] = {}
"""What each was when it was given: closed since, its number may be another's."""
_handlers: dict[int, Any] = {}
"""Of signals, as they were before ours."""

_forking = threading.local()
"""The signals that were blocked in a thread before it forked."""


def keep_descriptor(descriptor: int) -> None:
    """Have a descriptor mean nothing in processes forked from this one, and be closed in programs that are started."""
    if descriptor < _STREAMS:
        return
    os.set_inheritable(descriptor, False)
    _descriptors[descriptor] = _identity(descriptor)


def has_descriptor(descriptor: int) -> bool:
    """Whether a descriptor that was kept is open still, and is what it was."""
    try:
        return _identity(descriptor) == _descriptors.get(descriptor)
    except OSError:
        return False


def handle(number: int, handler: Any) -> None:
    """Handle a signal in this process, and not in those that are forked from it; in the main thread."""
    _handlers.setdefault(number, signal.getsignal(number))
    signal.signal(number, handler)


def restore_signals() -> None:
    """Give each signal back the handler that it had before `handle`, and let none wake an event loop; in the main thread."""
    signal.set_wakeup_fd(-1)
    for number, handler in _handlers.items():
        if handler is not None:  # not installed by Python, and so not by us
            signal.signal(number, handler)
    _handlers.clear()


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _hold_signals() -> None:
    """Keep the signals that are handled here from the forked process until it has its own handlers: else they are lost."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _handlers) if _handlers else None


def _let_signals_in() -> None:
    if (mask := getattr(_forking, "mask", None)) is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forget() -> None:
    """Put /dev/null in the place of each descriptor: were it closed, its object here might later close another's."""
    if _descriptors:
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for descriptor, identity in _descriptors.items():
            try:
                if _identity(descriptor) == identity:
                    os.dup2(nothing, descriptor, inheritable=False)
            except OSError:
                continue  # it was closed
        os.close(nothing)
        _descriptors.clear()
    if _handlers:
        restore_signals()
    _let_signals_in()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_signals, after_in_parent=_let_signals_in, after_in_child=_forget)
