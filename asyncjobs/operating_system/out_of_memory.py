"""Which process the kernel ends when memory runs out."""

from __future__ import annotations

import contextlib
from pathlib import Path

MORE = 100
"""Thousandths of all memory (of its cgroup, where that is limited) that a child counts as holding besides what it holds."""
MOST = 1000
_OWN = Path("/proc/self/oom_score_adj")


def be_ended_before_parent() -> None:
    """Have the kernel end this process, and what it will start, before the one that started it; Linux alone can.

    Who watches over a process that has taken all memory must outlive it, to say how it ended and to start another. Everybody
    may make himself the likelier victim, and nobody the less likely one without a right: see proc(5), oom_score_adj.
    """
    with contextlib.suppress(OSError, ValueError):  # no Linux, or a /proc that cannot be written
        _OWN.write_text(str(min(int(_OWN.read_text()) + MORE, MOST)))
