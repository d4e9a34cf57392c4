"""Guards against programs that would run again where they are imported for their jobs: found, and refused.

A job process gets a job's module by importing it. A program without `if __name__ == "__main__":` would start again there,
and need a job process of its own, and so on.
"""

from __future__ import annotations

import ast
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.modules.importing import import_problem
from asyncjobs.modules.origin import Origin

_imported: list[str] = []
"""Modules that this process imports for jobs in processes forked from it; in the forked processes it is empty."""
_refused: list[str] = []
os.register_at_fork(after_in_child=_imported.clear)


def unguarded(origin: Origin) -> str:
    """Return why the program that defines jobs cannot be imported elsewhere; empty: it can, or that is not known.

    The check reads the running program: the line that its module has come to would also run in an import, unless it is under
    an `if` that tests `__name__`.
    """
    if origin.name == origin.namespace.get("__name__"):
        return ""
    frames = _outwards(sys._current_frames().get(threading.main_thread().ident or 0))
    frame = next((each for each in frames if each.f_globals is origin.namespace and _is_module(each)), None)
    if frame is None:
        return ""
    try:
        tree = ast.parse(Path(frame.f_code.co_filename).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ""
    line = frame.f_lineno
    guards = (node for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp | ast.BoolOp))
    if any(node.lineno <= line <= (node.end_lineno or line) and _asks_for_name(node) for node in guards):
        return ""
    return _told(origin.name, line)


def import_for_jobs(names: Iterable[str]) -> list[str]:
    """Import modules in the process that forks for jobs; return the problems, with programs that would run again."""
    problems = []
    for name in dict.fromkeys(names):
        _imported.append(name)
        problem = import_problem(name)
        # Also if the program caught the refusal: it has begun to do again what it does when it is started.
        if problem := _refused.pop() if _refused else problem:
            problems.append(problem)
        _refused.clear()
    return problems


def refuse_while_importing() -> None:
    """Refuse to open a client in a process that imports programs for their jobs, also in a thread of such a program.

    Raises:
        InvalidDefinition: This is such a process, and a program runs again.
    """
    if _imported:
        frames = [each for each in _outwards(sys._getframe()) if each.f_globals.get("__name__") in _imported]
        name = str(frames[-1].f_globals["__name__"]) if frames else _imported[-1]
        _refused.append(_told(name, frames[-1].f_lineno if frames else None))
        raise InvalidDefinition(_refused[-1])


def _told(name: str, line: int | None) -> str:
    where = "" if line is None else f" by line {line}"
    return (
        f"{name} cannot be imported for jobs in processes of their own, it would run again{where}: put what starts it under "
        '`if __name__ == "__main__":`, or its jobs into a module of their own'
    )


def _is_module(frame: FrameType) -> bool:
    return frame.f_code.co_name == "<module>"


def _asks_for_name(node: ast.If | ast.IfExp | ast.BoolOp) -> bool:
    asked = node if isinstance(node, ast.BoolOp) else node.test
    return any(isinstance(each, ast.Name) and each.id == "__name__" for each in ast.walk(asked))


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
