"""The tracer of jobs, if an integration has set one: what it runs in spans, and what it stores with a job."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt
    from asyncjobs.performing.job_value import JobValue

T = TypeVar("T")


class Tracer(Protocol):
    """Makes the spans of jobs. Each of the coroutines that it takes is awaited once, inside of a span."""

    def carried(self) -> dict[str, str]:
        """Return the context of the present trace, to be stored in the meta of a job."""
        ...

    def sending(self, call: Coroutine[Any, Any, T], jobs: Sequence[JobValue] | None = None) -> Coroutine[Any, Any, T]:
        """Run an enqueue; `jobs` None: `call` returns how many were made, or nobody knows."""
        ...

    def awaiting(self, call: Coroutine[Any, Any, T], job: JobValue) -> Coroutine[Any, Any, T]:
        """Run the wait for the end of a job."""
        ...

    def processing(
        self, call: Coroutine[Any, Any, T], attempt: Attempt, *, in_worker: bool = True, is_apart: bool = False
    ) -> Coroutine[Any, Any, T]:
        """Run an attempt to its outcome, or, `is_apart`, in a process of its own to its end as it is written."""
        ...

    def step(self, name: str) -> AbstractContextManager[object]:
        """Return what the code of a step runs in."""
        ...


active: Tracer | None = None
"""None: there is no tracer, and a job costs this look."""
apart: bool = False
"""Whether this process runs jobs for a worker, which makes the spans of their attempts."""
