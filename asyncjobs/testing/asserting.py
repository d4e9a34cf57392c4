"""Assertions about jobs in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from asyncjobs.db import test_kit as db
from asyncjobs.db.rows import State
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.functions import JobFunction
from asyncjobs.jobs.job import Job
from asyncjobs.testing.expecting import Expectation, Times, check_count
from asyncjobs.testing.open_on_every_loop import OpenEverywhere
from asyncjobs.testing.wanted_jobs import Wanted, listed

if TYPE_CHECKING:
    from asyncjobs.records.status import StateName

P = ParamSpec("P")
R = TypeVar("R")
J = TypeVar("J", bound=Job[Any])

Kind = JobFunction[..., Any] | type[Job[Any]] | str
"""A `@job` function, a Job class or a kind's name."""


class Asserting(OpenEverywhere):
    """Assertions about jobs that were enqueued, and how they ended."""

    def expect(
        self, kind: Kind, /, *, args: Mapping[str, Any] | None = None, queue: str | None = None, priority: int | None = None,
        tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None, at: datetime | None = None,
        count: int | None = None, times: int | None = None, **arguments: Any,
    ) -> Expectation:  # fmt: skip
        """Fail unless the ``async with`` block enqueues such jobs; jobs enqueued before it do not count.

        ::

            async with jobs.expect(send_welcome, user_id=42, queue="mailers"):
                await signup("a@b.c")

        The block gives an object whose `jobs`, after the block, are those that matched.

        Args:
            kind: A `@job` function, a Job class or a kind's name.
            args: More arguments of the job: those named like an option here.
            queue: None: any.
            priority: None: any.
            tags: Tags that the job must have, among others.
            meta: Entries of meta that the job must have, among others.
            at: When the job must be due, within a second; None: any time.
            count: How many jobs exactly; 0: none; None: one or more.
            times: Another name for `count`.
            arguments: Of the job; those left out may have any value.

        Raises:
            AssertionError: At the end of the block; it lists the jobs that were enqueued instead.
            InvalidOption: The job has no such argument.
        """
        wanted = self._wanted(kind, args, arguments, queue=queue, priority=priority, tags=tags, meta=meta, at=at)
        return Expectation(self._seen, self.get, wanted, Times(check_count(count, times)))

    @overload
    async def assert_enqueued(
        self, kind: JobFunction[P, R], /, *, args: Mapping[str, Any] | None = None, queue: str | None = None,
        priority: int | None = None, tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None,
        at: datetime | None = None, count: int | None = None, times: int | None = None,
        **arguments: Any,
    ) -> Job[R]: ...  # fmt: skip
    @overload
    async def assert_enqueued(
        self, kind: type[J], /, *, args: Mapping[str, Any] | None = None, queue: str | None = None,
        priority: int | None = None, tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None,
        at: datetime | None = None, count: int | None = None, times: int | None = None,
        **arguments: Any,
    ) -> J: ...  # fmt: skip
    @overload
    async def assert_enqueued(
        self, kind: str, /, *, args: Mapping[str, Any] | None = None, queue: str | None = None,
        priority: int | None = None, tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None,
        at: datetime | None = None, count: int | None = None, times: int | None = None,
        **arguments: Any,
    ) -> Job[Any]: ...  # fmt: skip
    async def assert_enqueued(
        self, kind: Any, /, *, args: Mapping[str, Any] | None = None, queue: str | None = None,
        priority: int | None = None, tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None,
        at: datetime | None = None, count: int | None = None, times: int | None = None,
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """Fail unless such jobs are enqueued and not final yet; return the first of them, to `perform` or await.

        Args: as for `expect`; `count` is 1 or more.

        Raises:
            AssertionError: It lists the jobs that are there instead.
            InvalidOption: The job has no such argument.
        """
        wanted = self._wanted(kind, args, arguments, queue=queue, priority=priority, tags=tags, meta=meta, at=at)
        times_ = Times(check_count(count, times, least=1))
        seen = await self._seen()
        found = [job for job in seen if not State(job.state).final and wanted.matches(job)]
        if not times_.fits(len(found)):
            raise AssertionError(
                f"{wanted} is enqueued {len(found)} times, not {times_}; there is:\n{listed(seen, wanted)}"
            )
        return await self._client().get(found[0].id, None if isinstance(kind, str) else kind)

    async def refute_enqueued(
        self, kind: Kind, /, *, args: Mapping[str, Any] | None = None, queue: str | None = None, priority: int | None = None,
        tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None, at: datetime | None = None,
        **arguments: Any,
    ) -> None:  # fmt: skip
        """Fail if such a job is enqueued and not final yet.

        Args: as for `expect`.

        Raises:
            AssertionError: It lists the jobs.
            InvalidOption: The job has no such argument.
        """
        wanted = self._wanted(kind, args, arguments, queue=queue, priority=priority, tags=tags, meta=meta, at=at)
        found = [job for job in await self._seen() if not State(job.state).final and wanted.matches(job)]
        if found:
            raise AssertionError(f"{wanted} is enqueued:\n{listed(found, wanted)}")

    async def assert_performed(
        self, kind: Kind, /, *, args: Mapping[str, Any] | None = None, queue: str | None = None, priority: int | None = None,
        tags: Iterable[str] | None = None, meta: Mapping[str, str] | None = None,
        state: StateName = "succeeded", count: int | None = None, times: int | None = None, **arguments: Any,
    ) -> None:  # fmt: skip
        """Fail unless such jobs were performed and ended in a state.

        Args: as for `expect`, and
            state: The state: ``"succeeded"``, ``"failed"``, ``"discarded"`` or ``"cancelled"``.

        Raises:
            AssertionError: It lists all jobs, with their errors.
            InvalidOption: The job has no such argument, or `state` is not final.
        """
        if state not in State.__members__ or not State[state].final:
            raise InvalidOption(f"state={state!r} is no end of a job: use succeeded, failed, discarded or cancelled")
        wanted = self._wanted(kind, args, arguments, queue=queue, priority=priority, tags=tags, meta=meta, at=None)
        expected = Times(check_count(count, times))
        seen = await self._seen()
        found = [job for job in seen if job.state == State[state] and wanted.matches(job)]
        if not expected.fits(len(found)):
            raise AssertionError(
                f"{wanted} {state} {len(found)} times, not {expected}; there is:\n{listed(seen, wanted)}"
            )

    def _wanted(self, kind: Any, args: Mapping[str, Any] | None, arguments: dict[str, Any], **how: Any) -> Wanted:
        return Wanted(kind, {**arguments, **(args or {})}, **how)

    async def _seen(self) -> list[db.Seen]:
        return await self._here().opened.sessions.run(db.read_jobs)
