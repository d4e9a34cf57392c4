"""`JobsSync`: `Jobs` for plain tests, without an event loop of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from asyncjobs.client.blocking import BlockingRecurring
from asyncjobs.exceptions import NotOpen
from asyncjobs.jobs.naming import JobOrId
from asyncjobs.testing.jobs import Jobs

if TYPE_CHECKING:
    from asyncjobs.testing.expecting import Expectation
    from asyncjobs.testing.interrupting import Interruption


class JobsSync:
    """`Jobs` without ``await``; the fixture `jobs_sync`.

    Async code under test is run by `run`, or by `asyncio.run`; jobs that it enqueues are seen either way.

    Args:
        jobs: The `Jobs` behind it.
        run: Runs a coroutine to its end on a loop that is kept.
    """

    def __init__(self, jobs: Jobs, run: Callable[[Any], Any]) -> None:
        self._jobs = jobs
        self._run = run

    @property
    def database_url(self) -> str:
        """The database of this test process: a URL for asyncpg or psycopg."""
        return self._jobs.database_url

    @property
    def recurring(self) -> BlockingRecurring:
        """Recurring jobs; see `AsyncJobs.recurring`."""

        async def on_loop(make: Callable[[], Any]) -> Any:
            return await make()

        return BlockingRecurring(lambda make: self._run(on_loop(make)), lambda: self._jobs.recurring)

    def run(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Call a function and return its result: `async def` on the kept loop, `def` in a thread of that loop.

        In such a thread ``anyio.from_thread.run(job.enqueue)`` works, as in a `def` endpoint.
        """

        async def call() -> Any:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments, **named)
            return await anyio.to_thread.run_sync(lambda: function(*arguments, **named))

        return self._run(call())

    def result(self, job: JobOrId, *, timeout: float | None = 5.0) -> Any:
        """Return the result of a job that has ended; see `AsyncJobs.result`."""
        return self._run(self._jobs.result(job, timeout=timeout))

    @contextmanager
    def expect(self, *kind: Any, **wanted: Any) -> Iterator[Expectation]:
        """Fail unless the ``with`` block enqueues such jobs; see `Jobs.expect`."""
        with self._entered(self._jobs.expect(*kind, **wanted)) as expectation:
            yield expectation

    @contextmanager
    def interrupt_during(self, *target: Any, **where: Any) -> Iterator[Interruption]:
        """Interrupt runs inside a step; see `Jobs.interrupt_during`."""
        with self._entered(self._jobs.interrupt_during(*target, **where)) as interruption:
            yield interruption

    @contextmanager
    def interrupt_after(self, *target: Any, **where: Any) -> Iterator[Interruption]:
        """Interrupt runs after a step; see `Jobs.interrupt_after`."""
        with self._entered(self._jobs.interrupt_after(*target, **where)) as interruption:
            yield interruption

    @contextmanager
    def _entered(self, block: Any) -> Iterator[Any]:
        entered = self._run(block.__aenter__())
        try:
            yield entered
        except BaseException as error:
            self._run(block.__aexit__(type(error), error, error.__traceback__))
            raise
        self._run(block.__aexit__(None, None, None))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            found = getattr(self._jobs, name)
            if not inspect.iscoroutinefunction(found):
                raise NotOpen(f"jobs_sync has no {name}: it has only methods that need no running event loop")

            @wraps(found)
            def call(*arguments: Any, **named: Any) -> Any:
                return self._run(found(*arguments, **named))

            return call
