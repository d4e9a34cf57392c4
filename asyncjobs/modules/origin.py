"""The origin of a definition: its program or module, and the name under which another process can import it.

The started program is `__main__` here, `__mp_main__` in a child that multiprocessing has spawned, and has another name in a
worker. The code's own file and spec decide, since `sys.modules["__main__"]` may be a profiler.
"""

from __future__ import annotations

import importlib.machinery
import inspect
import keyword
import os
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

_PROGRAMS = frozenset({"__main__", "__mp_main__"})
_HERE_ONLY = f"__main__.{os.urandom(4).hex()}"
"""The name of a program without a name, for this process and its forks: two that shared `__main__` would run each other's
jobs."""


@dataclass(frozen=True)
class Origin:
    """The module of a definition.

    Attributes:
        name: The beginning of its kinds.
        importable: Whether another process can import it under that name.
        path: A directory that must be on `sys.path` to import it, and is not yet; empty: none.
        namespace: Its globals.
    """

    name: str
    importable: bool = True
    path: str = ""
    namespace: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, target: Any, frame: FrameType | None) -> Origin:
        """Return the origin of a function or class that `frame` defines."""
        namespace = namespace_of(target, frame)
        if target.__module__ not in _PROGRAMS:
            return cls(target.__module__, namespace=namespace)
        spec = namespace.get("__spec__")
        if spec is not None and spec.name not in _PROGRAMS:
            # For `python -m package` it is package.__main__, which can be imported.
            return cls(spec.name, namespace=namespace)
        file = namespace.get("__file__")
        if not isinstance(file, str) or file.startswith("<"):
            return cls(_HERE_ONLY, importable=False, namespace=namespace)  # `python -c`, `python < FILE`, a notebook
        path = Path(file).resolve()
        name, directory = _name_of_file(path)
        importable = (
            path.is_file()
            and path.suffix in importlib.machinery.SOURCE_SUFFIXES
            and all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))
        )
        return cls(name, importable, directory, namespace)

    @cached_property
    def is_nameless(self) -> bool:
        """Whether its name is valid in this process alone."""
        return self.name is _HERE_ONLY

    @property
    def remedy(self) -> str:
        """Why no other process can import it, and what to do."""
        if self.is_nameless:
            return "this program has no file that another process could import: define it in a module, and import that"
        return (
            f"no other process can import {self.name!r}: define it in a module whose name is made of letters, digits "
            "and _, and import that"
        )


def _name_of_file(path: Path) -> tuple[str, str]:
    """Return the module name of a program's file, and the directory that must be importable for it, if it is not yet."""
    for entry in sys.path:
        root = Path(entry or ".").resolve()
        if root in path.parents:
            parts = path.relative_to(root).with_suffix("").parts
            if parts != ("__main__",):
                return ".".join(parts), ""
    if path.stem != "__main__":
        return path.stem, str(path.parent)
    # For `python DIRECTORY` the directory itself is on sys.path, where the file has the name of every program.
    package = path.parent
    return f"{package.stem if package.is_file() else package.name}.__main__", str(package.parent)


def namespace_of(target: Any, frame: FrameType | None = None) -> dict[str, Any]:
    """Return the globals of the module of a function or class; `frame` may be the one that defined it."""
    if frame is not None and frame.f_globals.get("__name__") == target.__module__:
        return frame.f_globals
    functions = [target] if inspect.isfunction(target) else [f for f in vars(target).values() if inspect.isfunction(f)]
    for function in functions:
        found: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
        if found.get("__name__") == target.__module__:
            return found
    return vars(sys.modules[target.__module__]) if target.__module__ in sys.modules else {}


def defining_frame(target: Any, depth: int) -> FrameType:
    """Return the frame that defines a function or class, at least `depth` calls up.

    That is the next frame of its own module: a metaclass or a decorator of a library may stand between.
    """
    given = sys._getframe(depth + 1)
    frame: FrameType | None = given
    while frame is not None and frame.f_globals.get("__name__") != target.__module__:
        frame = frame.f_back
    return frame or given
