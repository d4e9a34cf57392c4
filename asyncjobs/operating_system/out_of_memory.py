"""The choice of the process that the kernel ends when memory runs out."""

from __future__ import annotations

import contextlib
from pathlib import Path

MORE = 100
"""Thousandths of all memory (of its cgroup, where that is limited) by which a child counts as larger than it is."""
MOST = 1000
_OWN = Path("/proc/self/oom_score_adj")


def be_ended_before_parent() -> None:
    """Have the kernel end this process, and those it will start, before its parent; on Linux only.

    The parent of a process that has taken all memory must outlive it, to log how it ended and to start another. A process
    may always make itself the more likely one to be ended, but needs a right to become less likely: see proc(5),
    oom_score_adj.
    """
    with contextlib.suppress(OSError, ValueError):  # no Linux, or a /proc that cannot be written
        _OWN.write_text(str(min(int(_OWN.read_text()) + MORE, MOST)))
