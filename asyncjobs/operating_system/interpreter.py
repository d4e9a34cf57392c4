"""How this program starts itself again: as it was started, and with nothing of the working directory before our imports.

`python -m` puts the working directory first, before anything is imported: a project's own `secrets.py` would be taken for
Python's. So a child is started with `-P`, and puts the directory first itself, after our imports, if its parent has it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def command(module: str, *words: str, write_bytecode: bool = True) -> list[str]:
    """Return what runs a module of ours with this interpreter, under the flags that this one was given.

    Args:
        module: Its name.
        words: What follows on that.
        write_bytecode: False: what it imports is compiled anew each time, if its bytecode is not there yet. Python takes
            bytecode for that of a file changed in the same second, where that has the size it had.
    """
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - multiprocessing asks it, too
    if Path.cwd() != _ROOT:  # else we are imported from the working directory ourselves
        flags += ["-P"]
    if not write_bytecode:
        flags += ["-B"]
    return [sys.executable, *flags, "-m", module, *words]
