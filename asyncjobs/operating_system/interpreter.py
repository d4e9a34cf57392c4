"""The command that starts this program's interpreter again, without the working directory in front of asyncjobs's imports.

`python -m` puts the working directory first before anything is imported, so that a project's own `secrets.py` would take the
place of Python's. So a child is started with `-P`, and puts the directory first itself, after these imports, if its parent
has it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def command(module: str, *words: str, write_bytecode: bool = True) -> list[str]:
    """Return the command that runs a module of asyncjobs with this interpreter and its flags.

    Args:
        module: The module's name.
        words: The words that follow it.
        write_bytecode: False: what the module imports is compiled anew, unless its bytecode is there. Python takes bytecode
            for that of a file changed in the same second, where that has the size it had.
    """
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001 - multiprocessing asks it, too
    if Path.cwd() != _ROOT:  # else asyncjobs itself is imported from the working directory
        flags += ["-P"]
    if not write_bytecode:
        flags += ["-B"]
    return [sys.executable, *flags, "-m", module, *words]
