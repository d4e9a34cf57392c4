"""Imports of modules that define jobs, by name."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asyncjobs.exceptions import AsyncJobsError, InvalidSettings

_OURS = str(Path(__file__).parents[1]) + os.sep
_PYTHONS = str(Path(os.__file__).parent) + os.sep
_INSTALLED = re.compile(r"[/\\](?:site|dist)-packages[/\\](?P<top>[^/\\]+)")


def import_modules(names: Iterable[str]) -> None:
    """Import modules by name, each once.

    Raises:
        InvalidSettings: Modules cannot be imported; all at once, each with the reason and the line that it comes from.
    """
    problems = [problem for name in dict.fromkeys(names) if (problem := import_problem(name))]
    if problems:
        raise InvalidSettings(problems)


def import_problem(name: str) -> str | None:
    """Import one module; return what is wrong with it; None: nothing."""
    if name.endswith(".py") or not _is_dotted(name):
        meant = _module_of(name)
        remedy = "give a dotted name, such as 'app.jobs'" if meant is None else f"did you mean {meant!r}?"
        return f"imports: {name!r} is no module's name; {remedy}"
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return f"imports: there is no module {error.name!r}; {_findable()}"
        return _broken(name, error)
    except AsyncJobsError as error:
        return f"imports: {name}: {error}{_place(error, name)}"
    except (Exception, SystemExit) as error:
        return _broken(name, error)
    return None


def _findable() -> str:
    here = Path.cwd()
    if not sys.flags.safe_path:
        return f"give a dotted name that can be imported from {here} or is installed"
    return (
        f"PYTHONSAFEPATH, or the option -P, keeps Python from importing from {here}: unset it, put that directory in "
        "PYTHONPATH, or install the module"
    )


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _module_of(name: str) -> str | None:
    """Return the module that a file's path, or another system's `module:object`, means; None: it means no module."""
    path = Path(name.partition(":")[0])
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    parts = path.with_suffix("").parts if path.suffix == ".py" else path.parts
    if parts[-1:] == ("__init__",):
        parts = parts[:-1]
    meant = ".".join(parts)
    return meant if _is_dotted(meant) else None


def import_object(name: str) -> Any:
    """Import the object of a dotted name; a class is called without arguments.

    Raises:
        InvalidSettings: It does not exist, or its module or its class failed.
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
    """Make modules of the working directory importable; callers leave it out under `-P`, which forbids it."""
    here = str(Path.cwd())
    if sys.path[:1] not in ([here], [""]):
        sys.path.insert(0, here)


def _broken(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and not str(error.filename or "<").startswith("<"):
        return f"imports: {name} cannot be imported: {error.filename}:{error.lineno}: {error.msg}"
    text = str(error).splitlines()[0] if str(error) else ""
    return f"imports: {name} cannot be imported: {type(error).__name__}: {text}{_place(error, name)}"


def _place(error: BaseException, name: str) -> str:
    """Return the place that an error comes from, as the user sees it; empty when that is unknown.

    That is the innermost line that is not Python's, this package's or an installed package's, unless the module itself is
    of that package; without such a line, the innermost that is not Python's.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", _OURS))
        and (_INSTALLED.search(frame.filename) or not frame.filename.startswith(_PYTHONS))
    ]
    top = name.partition(".")[0]
    own = [
        frame
        for frame in frames
        if (found := _INSTALLED.search(frame.filename)) is None or found["top"].removesuffix(".py") == top
    ]
    last = (own or frames)[-1:]
    return "".join(f" ({frame.filename}:{frame.lineno})" for frame in last)
