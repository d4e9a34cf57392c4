"""One run of a step: its code called, in time and in its thread, and its record."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NamedTuple

import anyio.to_thread

from asyncjobs.checks import signatures
from asyncjobs.exceptions import InvalidStep
from asyncjobs.failing.control_exceptions import UNSPENT
from asyncjobs.records.step_records import Record, StepState, Write
from asyncjobs.steps.step_code import Code, Values
from asyncjobs.steps.step_decorator import StepOptions
from asyncjobs.tasks.shielding import shielded

_MISSING = object()


class StepTimeout(Exception):
    """A step took longer than its own `timeout`; `error` says so to the job."""

    def __init__(self, error: TimeoutError) -> None:
        self.error = error
        super().__init__(error)


class StepRun(NamedTuple):
    """One run of a step.

    Attributes:
        number: In the order in which the job came to its steps.
        found: Its record, perhaps under an earlier name; None: there is none.
        takes: The parameters and the result of its code.
        call: Its code, with its arguments.
        began: Seconds, by this process's monotonic clock.
    """

    kind: str
    name: str
    number: int
    found: Record | None
    options: StepOptions
    takes: Code
    call: partial[Any]
    began: float

    @property
    def where(self) -> str:
        """The job's kind and the step's name, for messages."""
        return f"{self.kind}.{self.name}"

    def write(
        self, state: StepState, attributes: str | None, result: str | None = None, cursor: str | None = None,
        error: str | None = None, *, children: str | None = None,
    ) -> Write:  # fmt: skip
        """Return the record to write."""
        name = self.name if self.found is None else self.found.name
        age = time.monotonic() - self.began
        return Write(self.number, name, state, result, cursor, error, age, attributes, children)

    def stored(self, value: Any) -> tuple[Any, str | None]:
        """Return the result as a resumed job gets it, and its JSON.

        Raises:
            UnstorableResult: The result has no form in JSON.
        """
        return (None, None) if value is None else Values(self.where, self.takes.returns).keep(value)

    def __call__(self, given: dict[str, Any]) -> Awaitable[Any]:
        """Run the code; a `def` runs in a thread, which is always waited for."""
        return self._called(given) if self.options.timeout is None else self._timed(given, self.options.timeout)

    def _called(self, given: dict[str, Any]) -> Awaitable[Any]:
        return self._with_cursor(given) if self.takes.cursor_name in given else self._call(given)

    async def _timed(self, given: dict[str, Any], seconds: float) -> Any:
        """Run the code within its timeout.

        Raises:
            StepTimeout: It took longer.
        """
        limit = asyncio.timeout(seconds)
        raised: BaseException | None = None
        try:
            async with limit:
                value = await self._called(given)
        except (Exception, *UNSPENT) as error:
            raised = error
        if limit.expired():  # whether its code then returned a value or raised something else
            late = TimeoutError(f"step {self.name!r} took longer than its timeout of {seconds:g} s")
            late.__cause__ = raised
            raise StepTimeout(late)
        if raised is not None:
            raise raised
        return value

    async def _with_cursor(self, given: dict[str, Any]) -> Any:
        cursor = given[self.takes.cursor_name]
        try:
            value = await self._call(given)
        except GeneratorExit:  # the loop is gone: nothing can be awaited
            raise
        except BaseException:
            await cursor.close_sources()
            raise
        await cursor.close_sources()
        return value

    async def _call(self, given: dict[str, Any]) -> Any:
        try:
            if self.takes.is_async:
                return await self.call(**given)
            context = copy_context()
            value, raised = await shielded(_in_thread(partial(context.run, partial(self.call, **given))))
            for variable, now in context.items():  # what the thread has set holds for the steps after it
                if variable.get(_MISSING) is not now:
                    variable.set(now)
            if raised is not None:
                raise raised
            return await value if inspect.isawaitable(value) else value
        except TypeError as error:
            if signatures.takes(self.call.func, *self.call.args, **{**self.call.keywords, **given}):
                raise  # raised by the code, not by the call
            raise InvalidStep(
                f"{self.where}: {error}: arguments after the function are passed to it; to give a step a `timeout` or a "
                "`retry`, decorate the function with `@step(…)`"
            ) from error


async def _in_thread(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return await anyio.to_thread.run_sync(call), None
    except BaseException as error:  # SystemExit, raised in this task, would end the loop
        return None, error
