"""Steps, durable sleep and events: the part of `Job` for a job's own code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar, overload

from asyncjobs.checks import limits
from asyncjobs.checks.wrong_calls import of_a_job
from asyncjobs.jobs import events
from asyncjobs.performing.fan_out import FanOut
from asyncjobs.performing.job_value import JobValue
from asyncjobs.performing.stepping import steps_of_run
from asyncjobs.steps.step_decorator import StepOptions, options_of

if TYPE_CHECKING:
    from asyncjobs.steps.cursors import Cursor

P = ParamSpec("P")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
T = TypeVar("T")


_Given: TypeAlias = "Cursor[Any]"


class StepMethods(JobValue):
    """Steps, durable sleep and events of a running job."""

    @property
    def resumed(self) -> bool:
        """Whether an earlier attempt has recorded something: it was interrupted, failed or waited, and this one goes on."""
        return self._stepper is not None and self._stepper.log.resumed

    async def run_steps(self) -> None:
        """Run the steps that the class declares with `@step`, in their order, except those already recorded.

        Raises:
            NotRunning: The job is not running here.
            InvalidStep: The steps do not fit what is recorded; the job fails.
        """
        await steps_of_run(self).run_declared(self._definition.steps)

    @overload
    async def step(
        self, name: str, function: Callable[..., Awaitable[T]], /, *args: Any, isolated: bool, **kwargs: Any
    ) -> T: ...
    @overload
    async def step(self, name: str, function: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def step(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    # With a cursor in front, or behind up to three arguments: the type system cannot say that it may stand anywhere.
    @overload
    async def step(
        self, name: str, function: Callable[Concatenate[_Given, P], Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    async def step(self, name: str, function: Callable[[A, _Given], Awaitable[T]], one: A, /) -> T: ...
    @overload
    async def step(self, name: str, function: Callable[[A, B, _Given], Awaitable[T]], one: A, two: B, /) -> T: ...
    @overload
    async def step(
        self, name: str, function: Callable[[A, B, C, _Given], Awaitable[T]], one: A, two: B, three: C, /
    ) -> T: ...
    @of_a_job('the step\'s name comes first, as in `await job.step("fetch", fetch, …)`')
    async def step(
        self, name: str, function: Callable[..., Any], /, *args: Any, isolated: Any = False, **kwargs: Any
    ) -> Any:
        """Run `function` as a step, and return its result; once recorded, the step does not run again and returns that.

        The result is stored as JSON and returned in the type that the function is annotated with. A parameter annotated
        ``Cursor[…]``, or named `cursor` and not annotated, is given the step's cursor: for type checkers it stands first,
        or last behind arguments given by position. Options of `@step` on the function hold: decorate it to give the step a
        `timeout` or a `retry`.

        Args:
            name: 1 to 200 characters, of this step alone in its job; steps in a loop have names such as ``f"page {n}"``.
            function: `async def`, or `def` to run in a thread.
            args: Arguments of the function, as are `kwargs`.
            isolated: Run it in a transaction of its own, given to it as `connection`, which also records it; see `@step`.
            kwargs: See `args`.

        Raises:
            NotRunning: The job is not running here.
            InvalidStep: The name is used twice, steps overlap, they come in another order than recorded, or the function
                does not take its arguments; the job fails.
            UnstorableResult: The result cannot be stored; the job fails.
            Exception: The function's own.
        """
        options = options_of(name, function, isolated=isolated)
        return await steps_of_run(self).run(name, function, *args, options=options, **kwargs)

    async def run(self, name: str, *jobs: JobValue, detached: bool = False) -> list[Any]:
        """Run other jobs as a step: enqueue them, once, wait for all, and return their results in the order given.

        Their ids are recorded before the first is enqueued, and the end of each when it ends: after a crash the job waits
        for the jobs that are left, and makes no others. The slot is given back while this waits. When this job is
        cancelled, so are they. When it has failed because some of them failed, and runs again, these are retried.

        Args:
            name: As for `step`.
            jobs: Not enqueued yet; of the same kinds and arguments on every attempt, in any order.
            detached: Leave the jobs alone when this job is cancelled.

        Raises:
            NotRunning, InvalidStep: As `step`; and the jobs are not those that are recorded.
            JobFailed, JobDiscarded, JobCancelled: A job ended so; the others have ended too. `retry_on` does not apply to a
                discarded or cancelled job: a retry of this job does not run it again.
            JobNotFound: The row of a job is gone, and its end was not recorded.
            AwaitCycle: A job awaits this job.
        """
        texts = await steps_of_run(self).run(name, FanOut(jobs, detached=detached), options=StepOptions())
        return [job._definition.result.load(text) for job, text in zip(jobs, texts, strict=True)]

    async def sleep(self, name: str, duration: float | timedelta) -> None:
        """Sleep as a step: the run ends here, and the job goes on when the time is over, by the database's clock.

        A sleeping job holds no slot and no memory, and survives every restart. Code outside steps runs again.

        Args:
            name: As for `step`.
            duration: Seconds or a timedelta, to ten years.

        Raises:
            NotRunning, InvalidStep: As `step`.
            InvalidOption: `duration` is out of range.
        """
        await steps_of_run(self).waits.wait(name, event=None, seconds=limits.duration(duration, "duration"))

    async def wait_for(
        self, event: str, *, key: Any = None, timeout: float | timedelta | None = None, name: str | None = None
    ) -> Any:
        """Wait for an event as a step, and return its payload: the run ends here, and the job goes on when it is emitted.

        An event that nobody waited for when it was emitted is kept for its first waiter.

        Args:
            event: Its name, 1 to 200 characters.
            key: Which of the events of this name: text, a number or a UUID; None: the event without a key.
            timeout: Seconds or a timedelta; None: as long as it takes.
            name: The step's; None: the event and its key. A job that waits for the same event twice must give names.

        Raises:
            TimeoutError: The event was not emitted in time. If this ends the attempt, the next one waits anew; if the code
                catches it and goes on to another step, it is recorded, and raised again when the job runs again.
            NotRunning, InvalidStep: As `step`.
            InvalidOption: A value outside these limits.
        """
        text = events.key_text(key)
        return await steps_of_run(self).waits.wait(
            name if name is not None else f"{event} {text}".rstrip() if isinstance(event, str) else event,
            event=events.checked_name(event),
            key=text,
            seconds=None if timeout is None else limits.duration(timeout, "timeout"),
        )
