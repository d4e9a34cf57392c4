"""Descriptors and signal handlers of this process, kept out of processes that a job forks.

`multiprocessing` forks by default on Linux, up to Python 3.13. With open connections of the worker in such a process, the
server takes a killed worker for alive; with its handlers, `terminate()` does nothing there. A program that is started has
neither. A connection is known here once it is open: if a job forks while one is being opened, its process keeps a copy.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

_STREAMS = 3
_descriptors: dict[int, tuple[int, int]] = {}
"""Device and inode of each descriptor when it was kept: once closed, its number may be another file's."""
_handlers: dict[int, Any] = {}
"""The handlers of signals before `handle`."""

_forking = threading.local()
"""The signals that were blocked in a thread before it forked."""


def keep_descriptor(descriptor: int) -> None:
    """Keep a descriptor out of processes forked from this one, and have it closed in programs that are started."""
    if descriptor < _STREAMS:
        return
    os.set_inheritable(descriptor, False)
    _descriptors[descriptor] = _identity(descriptor)


def has_descriptor(descriptor: int) -> bool:
    """Whether a kept descriptor is still open and the same file."""
    try:
        return _identity(descriptor) == _descriptors.get(descriptor)
    except OSError:
        return False


def handle(number: int, handler: Any) -> None:
    """Handle a signal in this process, and not in processes forked from it; call it in the main thread."""
    _handlers.setdefault(number, signal.getsignal(number))
    signal.signal(number, handler)


def restore_signals() -> None:
    """Restore each signal's handler from before `handle`, and let none wake an event loop; call it in the main thread."""
    signal.set_wakeup_fd(-1)
    for number, handler in _handlers.items():
        if handler is not None:  # None: it was not installed by Python
            signal.signal(number, handler)
    _handlers.clear()


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def _block_signals() -> None:
    """Block the handled signals until the forked process has its own handlers; else they would be lost."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _handlers) if _handlers else None


def _unblock_signals() -> None:
    if (mask := getattr(_forking, "mask", None)) is not None:
        _forking.mask = None
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _drop_kept() -> None:
    """Put /dev/null in place of each descriptor: if it were closed, its object here might later close another file."""
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
    _unblock_signals()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_block_signals, after_in_parent=_unblock_signals, after_in_child=_drop_kept)
