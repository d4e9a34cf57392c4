"""Child processes: the command that starts one, how one has ended, and that it is ended before its parent.

`python -m` puts the working directory first before anything is imported, so that a project's own `secrets.py` would take the
place of Python's. So a child is started with `-P`, and puts the directory first itself, after these imports, if its parent
has it.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

MORE = 100
"""Thousandths of all memory (of its cgroup, where that is limited) by which a child counts as larger than it is."""
MOST = 1000
_SUBPROCESS: Any = subprocess
"""For the one function that knows the flags of an interpreter; multiprocessing calls it, too, and it has no public name."""
_ROOT = Path(__file__).parents[2]
_OWN = Path("/proc/self/oom_score_adj")


def command(module: str, *words: str, write_bytecode: bool = True) -> list[str]:
    """Return the command that runs a module of asyncjobs with this interpreter and its flags.

    Args:
        module: The module's name.
        words: The words that follow it.
        write_bytecode: False: what the module imports is compiled anew, unless its bytecode is there. Python takes bytecode
            for that of a file changed in the same second, where that has the size it had.
    """
    flags = _SUBPROCESS._args_from_interpreter_flags()
    if Path.cwd() != _ROOT:  # else asyncjobs itself is imported from the working directory
        flags += ["-P"]
    if not write_bytecode:
        flags += ["-B"]
    return [sys.executable, *flags, "-m", module, *words]


def spell(code: int) -> str:
    """Return an exit code, which is negative for a signal, as "SIGKILL" or "exit code 1"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def be_ended_before_parent() -> None:
    """Have the kernel end this process, and those it will start, before its parent; on Linux only.

    The parent of a process that has taken all memory must outlive it, to log how it ended and to start another. A process
    may always make itself the more likely one to be ended, but needs a right to become less likely: see proc(5),
    oom_score_adj.
    """
    with contextlib.suppress(OSError, ValueError):  # no Linux, or a /proc that cannot be written
        _OWN.write_text(str(min(int(_OWN.read_text()) + MORE, MOST)))
