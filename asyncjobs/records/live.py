"""`Progress` and `StreamItem`: what a job shows while it runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come, as it said last."""

    done: float
    """A whole number is an `int`."""
    of: float | None
    """The number at which it is done; None: it is not known."""
    note: str
    at: datetime
    """When the job said so, by the database's clock."""

    @property
    def share(self) -> float | None:
        """What is done of the whole, from 0 to 1; None: the whole is not known."""
        return None if not self.of else min(max(self.done / self.of, 0.0), 1.0)

    def __str__(self) -> str:
        """Return it on one line: ``12 of 40 (30 %): rendering``."""
        return progress_line(self.done, self.of, self.note)


def progress_line(done: float, of: float | None, note: str) -> str:
    """Return progress on one line."""
    said = f"{done:,.12g}" if of is None else f"{done:,.12g} of {of:,.12g}"
    share = f" ({math.floor(min(max(done / of, 0), 1) * 100)} %)" if of else ""
    return f"{said}{share}{f': {note}' if note else ''}"


@dataclass(frozen=True, slots=True)
class StreamItem:
    """An item of a job's stream."""

    n: int
    """From 1, in the order in which they were sent, without gaps."""
    value: Any
    """Plain JSON."""
    attempt: int
    """The number of the attempt that sent it."""
    at: datetime
    """When the job sent it, by the database's clock."""
