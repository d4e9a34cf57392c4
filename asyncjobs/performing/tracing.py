"""The tracer of jobs, if an integration has set one: what it wraps, and what it puts into the meta of a job."""

from __future__ import annotations

from typing import Protocol, TypeVar

T = TypeVar("T")


class Tracer(Protocol):
    """Makes the spans of jobs."""

    def carried(self) -> dict[str, str]:
        """Return the context of the present trace, to be stored with a job."""
        ...


active: Tracer | None = None
"""None: there is no tracer, and a job costs this look."""
