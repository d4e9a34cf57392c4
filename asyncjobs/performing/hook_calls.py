"""Calls of hooks and middleware: around enqueueing and performing, and after a job is discarded or has failed."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import Any, Literal, TypeVar

import anyio.to_thread

from asyncjobs import errors
from asyncjobs.checks.foreign_texts import log, shown
from asyncjobs.definitions.definition import Definition
from asyncjobs.definitions.hooks import Hook, Hooks
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.failing.control_exceptions import JobSignal
from asyncjobs.performing.context_variables import InThread
from asyncjobs.performing.job_value import JobValue

logger = logging.getLogger("asyncjobs.hooks")

HOOK_TIMEOUT = 5.0
"""Seconds after which a hook is cut off; an `around` hook has them again once its call has returned."""

T = TypeVar("T")


class Layers:
    """Middleware joined with the hooks of each definition inside it, once for each definition.

    Args:
        middleware: The outermost first.
    """

    def __init__(self, middleware: Sequence[Any]) -> None:
        self._middleware = middleware
        self._joined: dict[str, tuple[Hooks, Hooks]] = {}
        self.around: Callable[[Definition], Hooks] = self._join if middleware else attrgetter("hooks")
        """Returns the joined hooks of a definition."""

    def _join(self, definition: Definition) -> Hooks:
        own = definition.hooks
        known = self._joined.get(definition.kind)
        if known is None or known[0] is not own:  # a hook was added, or the definition was loaded anew
            known = self._joined[definition.kind] = own, own.within(self._middleware)
        return known[1]


async def enqueue(hooks: Hooks, job: JobValue, insert: Callable[[], Awaitable[None]]) -> None:
    """Insert a job's row, with the hooks before, around and after it."""
    for hook in hooks.before_enqueue:
        await call_hook(hook, job)
    done = await _through(hooks.around_enqueue, job, insert)
    if done:
        await _afterwards(hooks.after_enqueue, job)


async def perform(hooks: Hooks, job: JobValue, run: Callable[[], Awaitable[T]]) -> T | None:
    """Perform a job, with the hooks before, around and after it; return its result."""
    for hook in hooks.before_perform:
        await call_hook(hook, job)
    done = await _through(hooks.around_perform, job, run)
    if not done:
        return None
    await _afterwards(hooks.after_perform, job)
    return done[0]


async def discarded(hooks: Hooks, job: JobValue, error: BaseException) -> None:
    """Call the hooks for a job that is discarded or has failed."""
    await _afterwards(hooks.after_discard, job, error)


async def _afterwards(hooks: Sequence[Hook], job: JobValue, *more: Any) -> None:
    for hook in hooks:
        try:
            await call_hook(hook, job, *more)
        except (JobSignal, Exception) as error:
            logged(error, job, "a hook failed; the job's outcome does not change")


async def call_hook(hook: Hook, job: JobValue, *more: Any, limit: float | Literal["usual"] | None = "usual") -> Any:
    """Call a hook, `def` or `async def`, and return what it returns.

    A `def` hook of a job that runs in a thread runs in a thread too: it may block as the job does.

    Args:
        hook: Called with the job and `more`.
        job: Tells by its definition whether the hook runs in a thread.
        more: Further arguments.
        limit: Seconds after which it is cut off with a `TimeoutError`; a thread then goes on, and nobody waits for it.
            ``"usual"``: `HOOK_TIMEOUT`; None: no limit.
    """
    if limit == "usual":
        limit = HOOK_TIMEOUT
    async with asyncio.timeout(limit) as timeout:
        try:
            if job._definition.is_async:
                result = hook(job, *more)
            else:
                call = InThread(job, lambda: hook(job, *more))
                try:
                    result = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
                finally:
                    call.adopt()
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError:
            if timeout.expired():
                log(logger, logging.WARNING, "%s %s: a hook was cut off after %g s", job.kind, job.id, limit)
            raise


async def _through(arounds: Sequence[Hook], job: JobValue, innermost: Callable[[], Awaitable[T]]) -> tuple[T] | None:
    """Run `innermost` inside all of `arounds`; return its result in a tuple, None when a hook did not call on."""
    done: tuple[T] | None = None
    begun = False

    async def run(depth: int) -> T | None:
        nonlocal done, begun
        if depth == len(arounds):
            if begun:
                raise InvalidDefinition("a hook around a job called call() twice: call it once, as the job runs once")
            begun = True
            try:
                done = (await innermost(),)
            finally:
                begun = done is not None  # a call that failed may be made again
            return done[0]

        result: T | None = None

        async def call() -> T | None:
            nonlocal result
            result = await run(depth + 1)
            with contextlib.suppress(RuntimeError):  # the caller is a task that outlived its hook
                rest.reschedule(asyncio.get_running_loop().time() + HOOK_TIMEOUT)
            return result

        async with asyncio.timeout(None) as rest:
            returned = arounds[depth](job, call)
            if inspect.isawaitable(returned):
                await returned
        return result

    try:
        await run(0)
    except (JobSignal, Exception) as error:
        if done is None:
            raise
        logged(error, job, "a hook failed after its call had returned; the job's outcome does not change")
    return done


def logged(error: BaseException, job: JobValue, what: str) -> None:
    """Log and report an error that does not change the job's outcome."""
    log(logger, logging.ERROR, "%s %s: %s: %s", job.kind, job.id, what, shown(error), error=error)
    errors.report(error, source="asyncjobs")
