"""How this program starts itself again: as it was started, and with nothing of the working directory before our imports.

`python -m` puts the working directory first, before anything is imported: a project's own `secrets.py` would be taken for
Python's. So a child is started with `-P`, and puts the directory first itself, after our imports, if its parent has it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def command(module: str, *words: str) -> list[str]:
    """Return what runs a module of ours with this interpreter, under the flags that this one was given."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - multiprocessing asks it, too
    if Path.cwd() != _ROOT:  # else we are imported from the working directory ourselves
        flags += ["-P"]
    return [sys.executable, *flags, "-m", module, *words]
