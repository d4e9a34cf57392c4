"""Cuts: the places at which a running job can be cut, found and counted, and the cut at one of them.

A task factory wraps the coroutines of the job's tasks, known by a context variable, which child tasks inherit. The wrapper's
`send` and `throw` see each suspension, on asyncio and uvloop alike.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from asyncjobs.definitions import registry
from asyncjobs.performing import running_job
from asyncjobs.testing.waiting_points import Place, Side, code_line, users_line, waits_for_thread

if TYPE_CHECKING:
    from asyncjobs.records.claimed import Claimed
    from asyncjobs.testing.attempt_here import AttemptHere

How = Literal["kill", "cancel"]

watching: ContextVar[Watch | None] = ContextVar("asyncjobs_watching", default=None)
"""The watch over tasks that are started in this context."""

_WRITTEN = {"checkpoint": "a checkpoint", "end": "the job's end"}


class Watch:
    """A watch over the attempts of one job, which cuts at one place.

    A kill is made where a wait ends: the awaited effect is there, and the job does not know. A cancellation is made there
    and where the wait begins.

    Args:
        job_id: The job's; jobs that it waits for are not watched.
        how: Which places count.
        cut_at: The number of the place; 0: none.
        cut: Called there with the place, in the middle of the job's own step of the event loop.
    """

    def __init__(self, job_id: UUID, how: How, cut_at: int, cut: Callable[[Place], object]) -> None:
        self.how: How = how
        self.count = 0
        """Places that the job has come to."""
        self.attempt: AttemptHere | None = None
        self._job_id = job_id
        self._cut_at = cut_at
        self._cut = cut
        self._times: Counter[tuple[Any, ...]] = Counter()
        self._context: Context | None = None
        """The context of the watched attempt."""

    def is_for(self, claimed: Claimed) -> bool:
        """Whether an attempt at this row is watched."""
        return claimed.id == self._job_id

    def is_one_of(self, ids: Collection[UUID]) -> bool:
        """Whether the watched job is one of these."""
        return self._job_id in ids

    @contextlib.contextmanager
    def over(self, attempt: AttemptHere) -> Iterator[Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]]:
        """Watch one attempt; yield the function that makes its task."""
        loop = asyncio.get_running_loop()
        context = self._context = copy_context()
        context.run(watching.set, self)

        def create(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            return loop.create_task(coroutine, context=context)

        self.attempt = attempt
        with watched_tasks(loop):
            yield create
        # The attempt stays: the write of its end is a place too.

    def waits(self, watched: Watched) -> None:
        """Note that a task has begun to wait."""
        if self.how == "cancel":
            self._come_to("waits", "", watched)

    def goes_on(self, watched: Watched) -> None:
        """Note that what a task waited for is done."""
        self._come_to("goes on", "", watched)

    def writes(self, what: str) -> None:
        """Note that a record or the end of the job is about to be written."""
        if self.attempt is not None and (self.how == "kill" or what == "checkpoint"):
            self._come_to("writes", _WRITTEN[what], None)

    def has_written(self, what: str) -> None:
        """Note that a record or the end of the job was written."""
        if self.attempt is not None and (self.how == "kill" or what == "checkpoint"):
            self._come_to("has written", _WRITTEN[what], None)
        if what == "end":
            self.attempt = None

    def _come_to(self, side: Side, what: str, watched: Watched | None) -> None:
        attempt = self.attempt
        if attempt is None or attempt.task is None:
            return  # a task that outlived the job's attempt
        if watched is not None and watched.is_service:
            return  # the client's task, begun in one of the job's calls
        root: Any = attempt.task.get_coro()
        coroutines = [root] if watched is None else [watched, root]
        file, line, function = users_line(*coroutines) or self._step_line() or _code_of(attempt)
        self.count += 1
        place = (file, line, function, side, what)
        self._times[place] += 1
        if self.count == self._cut_at:
            self._cut(Place(self.count, *place, self._times[place], any(map(waits_for_thread, coroutines))))

    def _step_line(self) -> tuple[str, int, str] | None:
        """Return the first line of the declared step that is running, when all frames are asyncjobs's or a thread's."""
        job = None if self._context is None else self._context.get(running_job.running)
        if job is None or job._stepper is None or job._stepper.log.current is None:
            return None
        return code_line(getattr(type(job), job._stepper.log.current, None))


def _code_of(attempt: AttemptHere) -> tuple[str, int, str]:
    """Return the first line of the job's code, for a job that has ended or not begun."""
    definition = registry.find(attempt.claimed.kind)
    if definition is None:
        return "?", 0, attempt.claimed.kind
    source = definition.source
    return source.file, source.line, source.qualname


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine of a watched job."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], watch: Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch
        self._waits = False
        self._begun = False
        self.is_service = False
        """Whether its task is a service of asyncjobs; known once it has begun."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)  # cr_await and cr_frame, which anyio and debuggers look at

    def send(self, value: Any) -> Any:
        """Go on; see `Coroutine.send`."""
        if not self._begun:
            self._begun = True
            task = asyncio.current_task()
            self.is_service = task is not None and task.get_name().startswith("asyncjobs ")
        self._goes_on()
        return self._suspended(self._coroutine.send(value))

    def throw(self, *error: Any) -> Any:
        """Go on with an error; see `Coroutine.throw`."""
        self._goes_on()
        return self._suspended(self._coroutine.throw(*error))

    def close(self) -> None:
        """End it; see `Coroutine.close`."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def _goes_on(self) -> None:
        if self._waits and self._watch.how == "kill":
            self._watch.goes_on(self)
        self._waits = False

    def _suspended(self, awaited: Any) -> Any:
        self._waits = True
        if self._watch.how == "cancel":
            if asyncio.isfuture(awaited):
                # Called before the task's own callback: a cancellation here takes the result away from the task.
                awaited.add_done_callback(self._answered)
            self._watch.waits(self)
        return awaited

    def _answered(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled():
            self._watch.goes_on(self)


@contextlib.contextmanager
def watched_tasks(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Have tasks made on `loop` watched by the watch over the task that makes them."""
    before: Any = loop.get_task_factory()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        context = options.get("context")
        watch = watching.get() if context is None else context.get(watching)
        if watch is not None and asyncio.iscoroutine(coroutine):
            coroutine = Watched(coroutine, watch)
        if before is not None:
            return before(loop, coroutine, **options)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)
