"""The steps of one attempt: a recorded step is not run again, and a step that ran is recorded before the job goes on."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from asyncjobs.definitions import attributes
from asyncjobs.exceptions import InvalidStep, NotRunning, UnstorableResult
from asyncjobs.failing.policies import Policy, RetryOn, find
from asyncjobs.failing.stored_errors import describe_error
from asyncjobs.performing import assignments, tracing
from asyncjobs.performing.durable_waits import Waits
from asyncjobs.performing.fan_out import FanOut
from asyncjobs.performing.hook_calls import call_hook
from asyncjobs.performing.job_value import JobValue
from asyncjobs.performing.step_log import StepLog, inside
from asyncjobs.performing.step_places import ChildrenPlace, CursorPlace
from asyncjobs.records.step_records import ENDED, Record, Recorder, StepForm, Write
from asyncjobs.steps.cursors import Cursor
from asyncjobs.steps.step_code import Values, code_of
from asyncjobs.steps.step_decorator import Step, StepOptions
from asyncjobs.steps.step_run import StepRun, StepTimeout

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt


class Stepper:
    """The steps of one attempt.

    Args:
        records: The records of earlier attempts.
    """

    def __init__(self, job: JobValue, attempt: Attempt, recorder: Recorder, records: Sequence[Record] = ()) -> None:
        self.log = StepLog(job, attempt, recorder, records)
        self.waits = Waits(self.log)
        self.tokens: dict[str, tuple[int, int]] = {}
        """Of each rate, how often the code has asked for a token, and for which of these times it has slept durably."""
        self._failure: tuple[BaseException, tuple[RetryOn, ...]] | None = None

    async def run_declared(self, steps: Sequence[Step]) -> None:
        """Run the steps that a job's class declares."""
        names = [step.name for step in steps]
        for step in steps:
            await self.run(step.name, getattr(self.log.job, step.name), options=step.options, code=names)

    async def run(
        self, name: str, function: Callable[..., Any], *arguments: Any, options: StepOptions, code: Sequence[str] = (),
        **named: Any,
    ) -> Any:  # fmt: skip
        """Run a step, or return its recorded result.

        Args:
            name: The step's.
            function: Its code.
            arguments: For the function.
            options: The step's.
            code: The names of all steps, for messages.
            **named: For the function, too.

        Raises:
            InvalidStep: The step is out of place.
            Exception: The step's own.
        """
        log = self.log
        log.check_going_on()
        try:
            if not callable(function):
                raise InvalidStep(
                    f"{log.kind}: step {name!r} is given {type(function).__name__}, which cannot be called: give the "
                    "function and its arguments, `step(name, function, …)`, and do not call it"
                )
            form: StepForm = "jobs" if isinstance(function, FanOut) else "code"
            record = log.meet(name, form, formerly=options.formerly, code=code)
            takes = code_of(function, log.kind, name)
            if record is not None and record.state in ENDED:
                if isinstance(function, FanOut):
                    return await function.replay(log.kind, record.children or "{}")
                return Values(f"{log.kind}.{name}", takes.returns).load_recorded(record.result)
            log.check()
            number, call = log.progress.next_number, partial(function, *arguments, **named)
            run = StepRun(log.kind, name, number, record, options, takes, call, time.monotonic())
            log.current, token = name, inside.set(name)
            try:
                # The conditions of a step that has begun are not asked again.
                if record is None and options.is_conditional and not await self._is_to_run(options):
                    log.check_going_on()
                    await log.record(run, "skipped", log.attributes())
                    return None
                if tracing.active is None:
                    return await self._run(run)
                with tracing.active.step(name):
                    return await self._run(run)
            finally:
                log.current = log.cursor = None
                inside.reset(token)
        except (InvalidStep, UnstorableResult) as error:
            log.attempt.end_by(error)
            raise

    async def _is_to_run(self, options: StepOptions) -> bool:
        if options.when is not None and not await self._asked(options.when):
            return False
        return options.unless is None or not await self._asked(options.unless)

    async def _asked(self, what: Any, *more: Any) -> Any:
        answer = getattr(self.log.job, what)(*more) if isinstance(what, str) else what(self.log.job, *more)
        return await answer if inspect.isawaitable(answer) else answer

    async def _run(self, run: StepRun) -> Any:
        given: dict[str, Any] = {}
        cursor: Cursor[Any] | None = None
        takes = run.takes
        if takes.cursor is not None and takes.cursor_name not in run.call.keywords:
            place = CursorPlace(self.log, run, Values(run.where, takes.cursor, "cursor"))
            begins_at = None if run.found is None else place.read(run.found.cursor)
            cursor = self.log.cursor = given[takes.cursor_name] = Cursor(place, begins_at)
        try:
            if run.options.isolated:
                return await self._run_isolated(run, given)
            if isinstance(run.call.func, FanOut):
                return await self._run_jobs(run)
            value = await run(given)
            self.log.check_going_on()
        except Exception as error:
            if cursor is not None:
                await cursor.flush()
            if isinstance(error, StepTimeout):
                return await self._failed(run, error.error, is_late=True)
            return await self._failed(run, error)
        except BaseException:
            if cursor is not None:
                cursor.leave()
            raise
        value, result = run.stored(value)
        at = None
        if cursor is not None:
            cursor.close()
            at = place.values.dump(cursor.value)
        await self.log.record(run, "succeeded", self.log.attributes(), result=result, cursor=at)
        return value

    async def _run_jobs(self, run: StepRun) -> Any:
        place = ChildrenPlace(self.log, run)
        results = await run({"place": place})
        self.log.check_going_on()
        await self.log.record(run, "succeeded", self.log.attributes(), children=place.children)
        return results

    async def _run_isolated(self, run: StepRun, given: dict[str, Any]) -> Any:
        value: Any = None
        text: str | None = None
        before, is_again = self.log.attributes(), False

        async def body(connection: Any) -> Write:
            nonlocal value, text, is_again
            if is_again:  # the database has undone the first try, so its attributes are undone, too
                attributes.restore(self.log.job, before)
            is_again = True
            if run.takes.takes_connection:
                given["connection"] = connection
            value = await run(given)
            self.log.check_going_on()
            value, result = run.stored(value)
            text = self.log.attributes()
            return run.write("succeeded", text, result=result)

        takes = run.takes
        await self.log.recorder.transact(
            body, through_sqlalchemy=takes.through_sqlalchemy, lends=takes.takes_connection
        )
        self.log.saved(text)
        return value

    async def _failed(self, run: StepRun, error: Exception, *, is_late: bool = False) -> None:
        """Let the step's policies and handler see its error; return when it is handled, else raise it.

        `is_late`: the step ran into its timeout, whose error, if not handled, ends the run even where the code catches it.
        """
        options = run.options
        left = tuple(policy for policy in options.retry if not self._is_used_up(policy) or policy.on_exhausted)
        self._failure = (error, left)
        is_to_be_retried = find([policy for policy in left if not self._is_used_up(policy)], error) is not None
        # An error during a cancellation belongs to that; and no handler can mend code that does not fit the records.
        is_its_own = self.log.job.cancel_reason is None and not isinstance(error, InvalidStep | UnstorableResult)
        if options.on_error is None or is_to_be_retried or not is_its_own:
            raise self.log.attempt.end_by(error) if is_late else error
        handler = options.on_error
        await call_hook(lambda _job: self._asked(handler, error), self.log.job, limit=None)
        self.log.check_going_on()
        described = describe_error(error, attempt=self.log.attempt.number)
        await self.log.record(run, "handled", self.log.attributes(), error=described)

    def _is_used_up(self, policy: RetryOn) -> bool:
        return policy.attempts is not None and self.log.attempt.counts.get(policy.key, 0) + 1 >= policy.attempts

    def policies(self, error: BaseException | None) -> Sequence[Policy]:
        """Return the policies of the step that an error came from, which are asked before the job's own."""
        if self._failure is None or error is None or not any(self._failure[0] is it for it in (error, error.__cause__)):
            return ()
        return self._failure[1]


def steps_of_run(job: JobValue) -> Stepper:
    """Return the steps of a job's running attempt.

    Raises:
        NotRunning: The job is not running here.
    """
    return resume(job, []) if job._stepper is None else cast("Stepper", job._stepper)


def resume(job: JobValue, records: Sequence[Record]) -> Stepper:
    """Give a job's running attempt its steps, with the records of earlier attempts."""
    if job._attempt is None:
        raise NotRunning(
            f"{job._definition.kind} is not running here: steps are for a job's own code; in a function job use "
            "`current_job().step(…)`"
        )
    assignments.watch(type(job))
    job._stepper = stepper = Stepper(job, job._attempt, job._attempt.recorder, records)
    return stepper
