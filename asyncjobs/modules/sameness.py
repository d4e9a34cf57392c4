"""Sameness of functions and classes that were made twice by the same code, judged by what they close over."""

from __future__ import annotations

import dataclasses
import functools
from types import CellType, FunctionType
from typing import Any

_CODE = (FunctionType, staticmethod, classmethod, property, functools.partial)
_PLAIN = (str, int, float, bytes, tuple, frozenset, type(None))


def difference(new: Any, old: Any, *, options: tuple[Any, Any] | None = None) -> str | None:
    """Return the name of a closed-over value or an option that differs between two functions or classes; None: none does.

    Values are the same when they are equal; functions and classes, when they have the same code and close over the same
    values. A name that is not bound yet counts as the same.
    """
    comparison = _Comparison()
    # What is at module level closes over nothing, and may be an edited cell of a notebook.
    if (
        "<locals>" in new.__qualname__
        and options is not None
        and (differs := comparison.of_fields(*options)) is not None
    ):
        return differs
    if isinstance(new, FunctionType) and isinstance(old, FunctionType):
        return comparison.of_functions(new, old)
    return comparison.of_classes(new, old) if "<locals>" in new.__qualname__ else None


class _Comparison:
    """A comparison of two values and their parts; each pair is compared once, since a function may close over itself."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def of_functions(self, new: FunctionType, old: FunctionType) -> str | None:
        if not _same_code(new, old):
            return new.__qualname__
        cells = zip(new.__code__.co_freevars, new.__closure__ or (), old.__closure__ or (), strict=False)
        found = next((name for name, one, other in cells if not self._same_cells(one, other)), None)
        if found is None and not self._same(_marks(new), _marks(old)):
            return new.__qualname__
        return found

    def of_fields(self, new: Any, old: Any) -> str | None:
        """Return the name of a field that differs between two instances of a dataclass."""
        names = [each.name for each in dataclasses.fields(new)]
        return next((name for name in names if not self._same(getattr(new, name), getattr(old, name))), None)

    def of_classes(self, new: type, old: type) -> str | None:
        for name, one in vars(new).items():
            other = vars(old).get(name, one)
            is_told = isinstance(one, _CODE) or (isinstance(one, _PLAIN) and not name.startswith("_"))
            if is_told and not self._same(one, other):
                return name
        for one, other in zip(new.__bases__, old.__bases__, strict=False):
            if "<locals>" in one.__qualname__ and not self._same(one, other):
                return one.__qualname__
        return None

    def _same_cells(self, new: CellType, old: CellType) -> bool:
        try:
            return self._same(new.cell_contents, old.cell_contents)
        except ValueError:  # bound after the definition, as the function's own name is
            return True

    def _same(self, new: Any, old: Any) -> bool:
        pair = (id(new), id(old))
        if new is old or pair in self._seen:
            return True
        self._seen.add(pair)
        if type(new) is not type(old):
            return False
        match new:
            case FunctionType():
                return self.of_functions(new, old) is None
            case type():
                is_same_name = (new.__module__, new.__qualname__) == (old.__module__, old.__qualname__)
                return is_same_name and self.of_classes(new, old) is None
            case staticmethod() | classmethod():
                return self._same(new.__func__, old.__func__)
            case property():
                return self._same((new.fget, new.fset, new.fdel), (old.fget, old.fset, old.fdel))
            case functools.partial():
                return self._same((new.func, new.args, new.keywords), (old.func, old.args, old.keywords))
            case list() | tuple():
                return len(new) == len(old) and all(map(self._same, new, old))
            case dict():
                return new.keys() == old.keys() and all(self._same(new[key], old[key]) for key in new)
        if dataclasses.is_dataclass(new) and hasattr(type(new), "__dataclass_fields__"):
            return self.of_fields(new, old) is None
        if not _has_equality(type(new)) and (slots := _slots(type(new))):
            return all(self._same(getattr(new, name, None), getattr(old, name, None)) for name in slots)
        if hasattr(new, "__wrapped__"):  # a cache, or another definition
            return self._same(new.__wrapped__, getattr(old, "__wrapped__", None))
        try:
            return bool(new == old)
        except Exception:  # arrays compare item by item
            return False


def _marks(function: FunctionType) -> dict[str, Any]:
    """Return what asyncjobs has noted in a function: the options of a step."""
    return {name: value for name, value in vars(function).items() if name.startswith("__asyncjobs_")}


def _has_equality(cls: type) -> bool:
    return any("__eq__" in vars(base) for base in cls.__mro__[:-1])


def _slots(cls: type) -> list[str]:
    return [name for base in cls.__mro__ for name in vars(base).get("__slots__", ()) if not name.startswith("__")]


def _same_code(new: FunctionType, old: FunctionType) -> bool:
    if new.__code__ == old.__code__:
        return True
    # Under the same name at the same place of a module it is the same function: a cell that was edited and run again.
    is_at = (new.__code__.co_filename, new.__code__.co_firstlineno, new.__qualname__)
    return "<" not in new.__qualname__ and is_at == (
        old.__code__.co_filename,
        old.__code__.co_firstlineno,
        old.__qualname__,
    )
