"""What decorators note on methods, until the class is made."""

from __future__ import annotations

from typing import Any


def is_method(value: Any) -> bool:
    """Whether something in a class is a method, or may become one."""
    return isinstance(value, classmethod) or (callable(value) and not isinstance(value, type))


def marks_on(value: Any, mark: str) -> tuple[Any, ...]:
    """Return what decorators noted under `mark` on something in a class, above `@classmethod` or below it."""
    if not is_method(value):
        return ()
    found: tuple[Any, ...] = getattr(value, mark, ()) or getattr(getattr(value, "__func__", None), mark, ())
    return found
