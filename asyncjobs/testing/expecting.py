"""Expectations: the jobs that a block of code must enqueue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Self
from uuid import UUID

from asyncjobs.db.test_kit import Seen
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.job import Job
from asyncjobs.testing.wanted_jobs import Wanted, listed


class Times(NamedTuple):
    """An expected count; None: one or more."""

    exactly: int | None

    def fits(self, count: int) -> bool:
        """Whether a number is as expected."""
        return count > 0 if self.exactly is None else count == self.exactly

    def __str__(self) -> str:
        return "once or more" if self.exactly is None else f"{self.exactly}"


def check_count(count: int | None, times: int | None, *, least: int = 0) -> int | None:
    """Return the count, which has two names.

    Raises:
        InvalidOption: Both names are given, or the value is no whole number of at least `least`.
    """
    given = times if count is None else count
    if (count is not None and times is not None) or (given is not None and (type(given) is not int or given < least)):
        raise InvalidOption(f"count={count!r}, times={times!r}: give one of them, a whole number of at least {least}")
    return given


class Expectation:
    """The jobs that an ``async with`` block must enqueue.

    Args:
        read: Reads all jobs.
        get: Returns a `Job` by its id.
        wanted: The kind of jobs.
        times: Their expected count.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[list[Seen]]],
        get: Callable[[UUID], Awaitable[Job[Any]]],
        wanted: Wanted,
        times: Times,
    ) -> None:
        self._read, self._get = read, get
        self._wanted, self._times = wanted, times
        self._before: set[UUID] = set()
        self.jobs: list[Job[Any]] = []
        """The matching jobs, in the order in which they were enqueued; empty before the block's end."""

    async def __aenter__(self) -> Self:
        self._before = {job.id for job in await self._read()}
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        new = [job for job in await self._read() if job.id not in self._before]
        found = [job for job in new if self._wanted.matches(job)]
        if not self._times.fits(len(found)):
            raise AssertionError(
                f"{self._wanted} was enqueued {len(found)} times, not {self._times}; enqueued was:\n"
                f"{listed(new, self._wanted)}"
            )
        self.jobs = [await self._get(job.id) for job in found]
