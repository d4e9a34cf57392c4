"""Callbacks and middleware: user code around enqueueing and performing, and after a job is given up.

Order: middleware is outermost, then base classes, then derived ones, each in the order of the source; what comes after goes
back the other way, like the ends of nested blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import anyio.to_thread

from asyncjobs import errors
from asyncjobs.defining.calling import check_method, check_takes
from asyncjobs.defining.contexts import InThread
from asyncjobs.defining.signals import JobSignal
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.harmless import log, shown

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job
    from asyncjobs.defining.definition import Definition

logger = logging.getLogger("asyncjobs.hooks")

Point = Literal[
    "before_enqueue",
    "after_enqueue",
    "around_enqueue",
    "before_perform",
    "after_perform",
    "around_perform",
    "after_discard",
]
POINTS: tuple[Point, ...] = get_args(Point)
_MORE: dict[Point, tuple[str, ...]] = {
    "around_enqueue": ("call",),
    "around_perform": ("call",),
    "after_discard": ("the error",),
}
"""What the hooks of some points are given beside the job."""
HOOK_TIMEOUT = 5.0
"""Seconds after which a hook that hangs is cut off; one around something has them once its call has returned."""

Hook = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_MARK = "__asyncjobs_points__"


def before_enqueue(method: F) -> F:
    """Call this method `(self)` before the job's row is inserted; what it raises stops the enqueue and reaches the caller.

    After 5 seconds it is cut off with a `TimeoutError`. For a function job: ``@send_welcome.before_enqueue``, with the job
    as its argument. `enqueue_all` calls it for each job.
    """
    return _marked(method, "before_enqueue")


def after_enqueue(method: F) -> F:
    """Call this method `(self)` once the job's row is inserted; what it raises is logged and changes nothing.

    In the caller's own transaction (``connection=``) it is called before that commits.
    """
    return _marked(method, "after_enqueue")


def around_enqueue(method: F) -> F:
    """Enqueue inside this method `(self, call)`, at its ``await call()``; without that, the job is not enqueued.

    What the method raises after the call is logged and changes nothing, and after 5 seconds of that it is cut off.
    """
    return _marked(method, "around_enqueue")


def before_perform(method: F) -> F:
    """Call this method `(self)` before `perform`; what it raises is the attempt's error, as if `perform` had raised it."""
    return _marked(method, "before_perform")


def after_perform(method: F) -> F:
    """Call this method `(self)` after `perform` has returned; what it raises is logged, and the job has succeeded.

    After 5 seconds it is cut off; the job's `timeout` ends with `perform`.
    """
    return _marked(method, "after_perform")


def around_perform(method: F) -> F:
    """Perform inside this method `(self, call)`, at its ``await call()``, which returns the result.

    Without the call, the job succeeds with None; when the call has failed, it may be made again. What the method raises
    after the job has run is logged and changes nothing, and after 5 seconds of that it is cut off.
    """
    return _marked(method, "around_perform")


def after_discard(method: F) -> F:
    """Call this method `(self, error)` when the job is given up: discarded, retries used up, or failed.

    It runs before that is stored; what it raises is logged and changes nothing.
    """
    return _marked(method, "after_discard")


def _marked(method: F, point: Point) -> F:
    if not _is_method(method):
        raise InvalidDefinition(f"@{point} decorates a method or a function, not {type(method).__name__}")
    setattr(method, _MARK, (*getattr(method, _MARK, ()), point))
    return method


def _is_method(value: Any) -> bool:
    return isinstance(value, classmethod) or (callable(value) and not isinstance(value, type))


def marks_on(value: Any, mark: str) -> tuple[Any, ...]:
    """Return what decorators noted under `mark` on something in a class, above `@classmethod` or below it."""
    if not _is_method(value):
        return ()
    found: tuple[Any, ...] = getattr(value, mark, ()) or getattr(getattr(value, "__func__", None), mark, ())
    return found


def check_hooks(cls: type, name: str) -> None:
    """Refuse hooks that do not take what they are called with.

    Raises:
        InvalidDefinition: A method of the class, or of a base, does not.
    """
    for base in cls.__mro__:
        for attribute, value in vars(base).items():
            for point in marks_on(value, _MARK):
                check_method(cls, attribute, f"{name}: @{point}", *_MORE.get(point, ()))


def add_hook(job_class: type[Job[Any]], point: Point, hook: Hook) -> None:
    """Give a function's job a hook, called after those it has."""
    if not callable(hook) or isinstance(hook, type):
        raise InvalidDefinition(f"{point} decorates a function, not {type(hook).__name__}")
    check_takes(hook, point, "the job", *_MORE.get(point, ()))
    job_class._function_hooks.setdefault(point, []).append(hook)
    job_class._definition.__dict__.pop("hooks", None)


@dataclass(frozen=True)
class Hooks:
    """The hooks of one definition, in the order in which they are called; for `around`, the outermost first."""

    before_enqueue: tuple[Hook, ...] = ()
    after_enqueue: tuple[Hook, ...] = ()
    around_enqueue: tuple[Hook, ...] = ()
    before_perform: tuple[Hook, ...] = ()
    after_perform: tuple[Hook, ...] = ()
    around_perform: tuple[Hook, ...] = ()
    after_discard: tuple[Hook, ...] = ()

    @cached_property
    def on_enqueue(self) -> bool:
        """Whether there is anything to do beside inserting the row."""
        return bool(self.before_enqueue or self.after_enqueue or self.around_enqueue)

    @cached_property
    def on_perform(self) -> bool:
        """Whether there is anything to do beside performing."""
        return bool(self.before_perform or self.after_perform or self.around_perform)

    def within(self, middleware: Sequence[Any]) -> Hooks:
        """Return these hooks inside those of `middleware`, the first of which is the outermost."""
        if not middleware:
            return self
        outer: dict[Point, list[Hook]] = {
            point: [hook for layer in middleware if (hook := getattr(layer, point, None)) is not None]
            for point in POINTS
        }
        return Hooks(**{point: _joined(point, outer[point], getattr(self, point)) for point in POINTS})

    async def enqueue(self, job: Job[Any], insert: Callable[[], Awaitable[None]]) -> None:
        """Insert a job's row with what is to happen before, around and after it."""
        for hook in self.before_enqueue:
            await call_hook(hook, job)
        done = await _through(self.around_enqueue, job, insert)
        if done:
            await self._afterwards(self.after_enqueue, job)

    async def perform(self, job: Job[Any], perform: Callable[[], Awaitable[T]]) -> T | None:
        """Perform a job with what is to happen before, around and after it; return its result."""
        for hook in self.before_perform:
            await call_hook(hook, job)
        done = await _through(self.around_perform, job, perform)
        if not done:
            return None
        await self._afterwards(self.after_perform, job)
        return done[0]

    async def discarded(self, job: Job[Any], error: BaseException) -> None:
        """Call what is to be called when a job is given up."""
        await self._afterwards(self.after_discard, job, error)

    async def _afterwards(self, hooks: Sequence[Hook], job: Job[Any], *more: Any) -> None:
        for hook in hooks:
            try:
                await call_hook(hook, job, *more)
            except (JobSignal, Exception) as error:
                logged(error, job, "a hook failed; the job's outcome is what it was")


class Layers:
    """Middleware, and the hooks of each definition inside it, joined once and not for each job.

    Args:
        middleware: The first is the outermost.
    """

    def __init__(self, middleware: Sequence[Any]) -> None:
        self._middleware = middleware
        self._joined: dict[str, tuple[Hooks, Hooks]] = {}

    def around(self, definition: Definition) -> Hooks:
        """Return what is to be called for jobs of a definition."""
        own = definition.hooks
        if not self._middleware:
            return own
        known = self._joined.get(definition.kind)
        if known is None or known[0] is not own:  # it was given one more, or loaded anew
            known = self._joined[definition.kind] = own, own.within(self._middleware)
        return known[1]


def hooks_of(job_class: type[Job[Any]]) -> Hooks:
    """Return the hooks that a class and its bases declare, and those given to the function it stands for."""
    found: dict[Point, dict[Any, Hook]] = {point: {} for point in POINTS}
    for cls in reversed(job_class.__mro__):
        for name, value in vars(cls).items():
            for point in marks_on(value, _MARK):
                found[point][name] = _by_name(name)  # an override is called in its place, and once
        for point, functions in vars(cls).get("_function_hooks", {}).items():
            found[point].update((id(function), function) for function in functions)
    return Hooks(**{point: _joined(point, list(found[point].values()), ()) for point in POINTS})


def _joined(point: Point, outer: Sequence[Hook], inner: Sequence[Hook]) -> tuple[Hook, ...]:
    if point.startswith("after"):
        return (*inner, *reversed(outer))
    return (*outer, *inner)


def _by_name(name: str) -> Hook:
    def call(job: Job[Any], *arguments: Any) -> Any:
        return getattr(job, name)(*arguments)

    return call


async def call_hook(hook: Hook, job: Job[Any], *more: Any, limit: float | Literal["usual"] | None = "usual") -> Any:
    """Call a hook, `def` or `async def`, and return what it returns.

    A `def` hook of a job that runs in a thread runs in one too: it may block like the job itself.

    Args:
        hook: Called with the job and `more`.
        job: The job.
        more: Further arguments.
        limit: Seconds after which it is cut off with a `TimeoutError`; a thread then goes on, and is waited for no more.
            ``"usual"``: `HOOK_TIMEOUT`; None: never.
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


async def _through(arounds: Sequence[Hook], job: Job[Any], innermost: Callable[[], Awaitable[T]]) -> tuple[T] | None:
    """Run `innermost` inside all of `arounds`; return its result in a tuple, None when one of them did not call on."""
    done: tuple[T] | None = None
    begun = False

    async def run(depth: int) -> T:
        nonlocal done, begun
        if depth == len(arounds):
            if begun:
                raise InvalidDefinition("a hook around a job called call() twice: the job is run once")
            begun = True
            try:
                done = (await innermost(),)
            finally:
                begun = done is not None  # what has failed may be called again
            return done[0]

        result: T | None = None

        async def call() -> T:
            nonlocal result
            result = await run(depth + 1)
            with contextlib.suppress(RuntimeError):  # called by a task that the hook has left behind
                rest.reschedule(asyncio.get_running_loop().time() + HOOK_TIMEOUT)
            return result

        async with asyncio.timeout(None) as rest:
            returned = arounds[depth](job, call)
            if inspect.isawaitable(returned):
                await returned
        return result  # type: ignore[return-value]

    try:
        await run(0)
    except (JobSignal, Exception) as error:
        if done is None:
            raise
        logged(error, job, "a hook failed after its call had returned; the job's outcome is what it was")
    return done


def logged(error: BaseException, job: Job[Any], what: str) -> None:
    """Log and report an error that changes nothing."""
    log(logger, logging.ERROR, "%s %s: %s: %s", job.kind, job.id, what, shown(error), error=error)
    errors.report(error, source="asyncjobs")
