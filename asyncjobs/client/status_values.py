"""Statuses of jobs as values of JSON, for commands and pages."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

from asyncjobs.records.status import Status


def values_of(status: Status) -> dict[str, Any]:
    """Return the fields of a status by name, those of its errors, steps and children likewise."""
    names = [name for name in Status.__slots__ if name not in ("errors", "steps")]
    values = {name: getattr(status, name) for name in names}
    values |= {name: _fields(value) for name, value in values.items() if is_dataclass(value)}
    steps = [
        {**_fields(step), "children": None if step.children is None else list(map(_fields, step.children))}
        for step in status.steps
    ]
    return {**values, "steps": steps, "errors": list(map(_fields, status.errors))}


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__slots__}
