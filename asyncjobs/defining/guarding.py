"""Programs that would run again where they are imported for the sake of their jobs: told, and refused.

Processes of their own have a job's module by importing it. A program that starts without asking for its `__name__` would
start there, too, and that one would need a process again, and so on.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from asyncjobs.defining.importing import import_problem
from asyncjobs.defining.origin import Origin
from asyncjobs.exceptions import InvalidDefinition

_importing: str | None = None
"""The module that is imported for jobs now; None: none is."""
_refused: list[str] = []


def unguarded(origin: Origin) -> str:
    """Say why the program that jobs stand in cannot be imported elsewhere; empty: that is not known, or it can.

    It is looked at what the program is doing: the line at which its module has arrived runs in an import, too, unless it
    stands under an `if` that asks for `__name__`.
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
    """Import modules in the process that forks for jobs; return what is wrong, with programs that would run again."""
    global _importing  # noqa: PLW0603 - of the process, which does nothing else meanwhile
    problems = []
    try:
        for name in dict.fromkeys(names):
            _importing = name
            problem = import_problem(name)
            # Whatever the program has made of the refusal: it has begun to do again what it does when it is started.
            if problem := _refused.pop() if _refused else problem:
                problems.append(problem)
            _refused.clear()
    finally:
        _importing = None
    return problems


def refuse_while_importing() -> None:
    """Refuse to open a client in the process that imports a program for its jobs.

    Raises:
        InvalidDefinition: This is that process, and the program runs again.
    """
    if _importing is not None:
        frames = [each for each in _outwards(sys._getframe()) if each.f_globals.get("__name__") == _importing]
        _refused.append(_told(_importing, frames[-1].f_lineno if frames else None))
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
