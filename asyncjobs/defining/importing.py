"""The modules that define jobs, imported by name."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asyncjobs.exceptions import AsyncJobsError, InvalidSettings


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name, each once.

    Raises:
        InvalidSettings: Those that cannot be imported, all at once, each with the reason and the line it comes from.
    """
    problems = [problem for name in dict.fromkeys(names) if (problem := import_problem(name))]
    if problems:
        raise InvalidSettings(problems)


def import_problem(name: str) -> str | None:
    """Import one module; return what is wrong with it, or None."""
    if not all(part.isidentifier() for part in name.split(".")):
        likely = name.partition(":")[0].removesuffix(".py").strip("./").replace("/", ".")
        return f"imports: {name!r} is no module's name: write {likely!r}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return (
                f"imports: there is no module {error.name!r}; give a dotted name that can be imported "
                f"from {Path.cwd()} or is installed"
            )
        return _broken(name, error)
    except AsyncJobsError as error:
        return f"imports: {name}: {error}{_place(error)}"
    except (Exception, SystemExit) as error:
        return _broken(name, error)
    return None


def import_object(name: str) -> Any:
    """Import what a dotted name stands for; a class is called without arguments.

    Raises:
        InvalidSettings: There is no such thing, or its module or its class failed.
    """
    module, _, attribute = name.rpartition(".")
    if problem := import_problem(module or name):
        raise InvalidSettings([problem])
    try:
        found = getattr(sys.modules[module], attribute)
        return found() if isinstance(found, type) else found
    except Exception as error:
        raise InvalidSettings([f"{name} cannot be used: {type(error).__name__}: {error}"]) from error


def put_working_directory_first() -> None:
    """Make modules of the working directory importable, unless the interpreter was told not to (`-P`)."""
    here = str(Path.cwd())
    if not sys.flags.safe_path and sys.path[:1] not in ([here], [""]):
        sys.path.insert(0, here)


def _broken(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"imports: {name} cannot be imported: {error.filename}:{error.lineno}: {error.msg}"
    text = str(error).splitlines()[0] if str(error) else ""
    return f"imports: {name} cannot be imported: {type(error).__name__}: {text}{_place(error)}"


def _place(error: BaseException) -> str:
    """Where an error comes from, this package's own lines left out; nothing when that is unknown."""
    ours = str(Path(__file__).parents[1]) + os.sep
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and not frame.filename.startswith(ours)
    ]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
