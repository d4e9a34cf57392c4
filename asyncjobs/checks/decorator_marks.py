"""Marks that decorators leave on methods until the class is made."""

from __future__ import annotations

from typing import Any


def is_method(value: Any) -> bool:
    """Whether a value in a class is a method, or may become one."""
    return isinstance(value, classmethod) or (callable(value) and not isinstance(value, type))


def marks_on(value: Any, mark: str) -> tuple[Any, ...]:
    """Return the marks on a value in a class, left by decorators above or below `@classmethod`."""
    if not is_method(value):
        return ()
    found: tuple[Any, ...] = getattr(value, mark, ()) or getattr(getattr(value, "__func__", None), mark, ())
    return found
