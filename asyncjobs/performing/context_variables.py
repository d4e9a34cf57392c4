"""Context variables of an attempt: set by `def` code in threads and kept for the job's task, or set by integrations."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context, ContextVar, copy_context
from typing import Any, Generic, TypeVar

from asyncjobs.checks.foreign_texts import log
from asyncjobs.performing.job_value import JobValue

logger = logging.getLogger("asyncjobs.hooks")

T = TypeVar("T")
_MISSING = object()

around: list[Callable[[bool], AbstractContextManager[object]]] = []
"""Entered around every attempt, in its own context; called with True for a worker's attempt, False for `perform_now`."""


def surroundings(*, in_worker: bool) -> ExitStack:
    """Return the entered `around` managers; one that fails is logged, and left out."""
    stack = ExitStack()
    for enter in around:
        try:
            stack.enter_context(enter(in_worker))
        except Exception as failed:
            log(logger, logging.ERROR, "an integration failed, and a job runs without it: %r", enter, error=failed)
    return stack


class InThread(Generic[T]):
    """A call of a job's `def` code in a thread; `adopt` then sets in the task the variables that it set.

    The calls of one job share a context, so that a hook can reset by its token what an earlier hook set.
    """

    def __init__(self, job: JobValue, function: Callable[[], T]) -> None:
        self._job = job
        self._function = function
        # Taken out of the job for the time of the call: a thread that was abandoned may still be inside its own context.
        self._kept, job._context = job._context, None
        self._shared: Context | None = None
        self._set: list[tuple[ContextVar[Any], Any]] = []

    def __call__(self) -> T:
        """Make the call."""
        here = copy_context()
        shared = here
        if self._kept is not None:
            shared, then = self._kept
            for variable, value in _changes(then, here):
                shared.run(variable.set, value)
        before = shared.copy()
        try:
            return shared.run(self._function)
        finally:
            self._set, self._shared = _changes(before, shared), shared

    def adopt(self) -> None:
        """Set in the calling task what the call set; nothing while the call runs."""
        for variable, value in self._set:
            variable.set(value)
        if self._shared is not None and (
            self._set or self._kept
        ):  # else keeping it would only make a cycle with the job
            self._job._context = self._shared, copy_context()


def _changes(before: Context, after: Context) -> list[tuple[ContextVar[Any], Any]]:
    return [(each, value) for each, value in after.items() if before.get(each, _MISSING) is not value]


class Inside(Awaitable[T]):
    """An awaitable that runs a coroutine in this task, in a copy of its context: variables set there stay there."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        run, coroutine = copy_context().run, self._coroutine
        try:
            waits_for = run(coroutine.send, None)
            while True:
                try:
                    sent = yield waits_for
                except GeneratorExit:
                    run(coroutine.close)
                    raise
                except BaseException as error:
                    waits_for = run(coroutine.throw, error)
                else:
                    waits_for = run(coroutine.send, sent)
        except StopIteration as end:
            value: T = end.value
            return value
