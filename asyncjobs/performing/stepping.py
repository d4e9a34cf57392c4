"""Running the steps of one attempt: what is recorded is not run again; what has run is recorded before the job goes on."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, cast

from asyncjobs.checks.texts import cut, shown
from asyncjobs.definitions import attributes
from asyncjobs.exceptions import InvalidStep, NotRunning, UnstorableResult
from asyncjobs.failing.policies import Policy, RetryOn, find
from asyncjobs.failing.signals import Interrupted, Parked
from asyncjobs.failing.stored_errors import describe_error
from asyncjobs.performing import assignments, context
from asyncjobs.performing.fan_out import FanOut
from asyncjobs.performing.hook_calls import call_hook
from asyncjobs.performing.job_value import JobValue
from asyncjobs.records.step_records import ENDED, Progress, Record, Recorder, StepForm, StepState, Write
from asyncjobs.steps.cursors import Cursor
from asyncjobs.steps.declared import Step, StepOptions
from asyncjobs.steps.runs import StepRun, StepTimeout
from asyncjobs.steps.step_code import Values, code_of
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

inside: ContextVar[str | None] = ContextVar("asyncjobs_step", default=None)
"""The step whose code is running here: tells a step inside another from one beside it."""


class Stepper:
    """The steps of one attempt.

    Args:
        job: That runs.
        attempt: Its run.
        recorder: Where its steps are recorded.
        records: What earlier attempts have recorded.
    """

    def __init__(self, job: JobValue, attempt: Attempt, recorder: Recorder, records: Sequence[Record] = ()) -> None:
        self._job = job
        self._kind = job.kind
        self.attempt = attempt
        self._recorder = recorder
        self.progress = Progress(job.kind, records)
        self.resumed = bool(records)
        """Whether an earlier attempt has recorded something."""
        self.progressed = False
        """Whether this attempt has."""
        self._late: tuple[TimeoutError, int, str] | None = None
        """What the wait has raised that no event ended in time, its number and its name."""
        self._failure: tuple[BaseException, tuple[RetryOn, ...]] | None = None
        self._current: str | None = None
        self.cursor: Cursor[Any] | None = None
        """Of the step that runs; None: none runs, or it takes none."""
        # The first record comes with attributes, none being written as such: a row that has them has steps to be read.
        self._saved = self._attributes() if records else None

    @property
    def step_here(self) -> str | None:
        """The step whose code is running here, in a task or a thread of it; None: it is other code of the job, or none."""
        is_other = (
            inside.get() is None and context.running.get() is self._job
        )  # a thread that a step starts knows neither
        return None if is_other else self._current

    # Running

    async def run_declared(self, steps: Sequence[Step]) -> None:
        """Run the steps of a job's class."""
        names = [step.name for step in steps]
        for step in steps:
            await self.run(step.name, getattr(self._job, step.name), options=step.options, code=names)

    async def run(
        self, name: str, function: Callable[..., Any], *arguments: Any, options: StepOptions, code: Sequence[str] = (),
        **named: Any,
    ) -> Any:  # fmt: skip
        """Run a step, or return what it returned when it ran.

        Args:
            name: Its name.
            function: Its code.
            arguments: For the function.
            options: Of the step.
            code: The names of all steps, for messages.
            **named: For the function, too.

        Raises:
            InvalidStep: It is out of place.
            Exception: Its own.
        """
        self._check_going_on()
        try:
            record = self._meet(name, function, options, code)
            takes = code_of(function, self._kind, name)
            if record is not None and record.state in ENDED:
                if isinstance(function, FanOut):
                    return await function.replay(self._kind, record.children or "{}")
                return Values(f"{self._kind}.{name}", takes.returns).load(record.result)
            self.check()
            number, call = self.progress.next_number, partial(function, *arguments, **named)
            run = StepRun(self._kind, name, number, record, options, takes, call, time.monotonic())
            self._current, token = name, inside.set(name)
            try:
                # One that has begun is not asked about again.
                if record is None and options.is_conditional and not await self._is_to_run(options):
                    self._check_going_on()
                    await self.record(run, "skipped", self._attributes())
                    return None
                return await self._run(run)
            finally:
                self._current = self.cursor = None
                inside.reset(token)
        except (InvalidStep, UnstorableResult) as error:
            self.attempt.end_by(error)
            raise

    def _meet(
        self, name: str, function: Callable[..., Any], options: StepOptions, code: Sequence[str]
    ) -> Record | None:
        """Return what is recorded of a step that is met here in the code.

        Raises:
            InvalidStep: It is out of place.
        """
        if not callable(function):
            raise InvalidStep(
                f"{self._kind}: step {name!r} is given {type(function).__name__}, which cannot be called: give the "
                "function and its arguments, `step(name, function, …)`, and do not call it"
            )
        if self._current is not None:
            self._refuse_overlap(name, self._current)
        record = self.progress.meet(name, formerly=options.formerly, code=code)
        if record is not None:
            self._check_form(record, name, "jobs" if isinstance(function, FanOut) else "code")
        return record

    def _check_form(self, record: Record, name: str, form: StepForm) -> None:
        """Refuse that what was recorded as one thing is another in the code that runs now."""
        if record.form != form:
            raise InvalidStep(
                f"{self._kind}: step {name!r} was recorded as {_FORMS[record.form]} ({record.state}), and is "
                f"{_FORMS[form]} now: give the new code a kind of its own while jobs are in flight, or run this job again "
                "from a step: asyncjobs jobs retry ID --from STEP"
            )

    async def _is_to_run(self, options: StepOptions) -> bool:
        if options.when is not None and not await self._asked(options.when):
            return False
        return options.unless is None or not await self._asked(options.unless)

    async def _asked(self, what: Any, *more: Any) -> Any:
        answer = getattr(self._job, what)(*more) if isinstance(what, str) else what(self._job, *more)
        return await answer if inspect.isawaitable(answer) else answer

    async def _run(self, run: StepRun) -> Any:
        given: dict[str, Any] = {}
        cursor: Cursor[Any] | None = None
        takes = run.takes
        if takes.cursor is not None and takes.cursor_name not in run.call.keywords:
            place = _CursorPlace(self, run, Values(run.where, takes.cursor, "cursor"))
            begins_at = None if run.found is None else place.read(run.found.cursor)
            cursor = self.cursor = given[takes.cursor_name] = Cursor(place, begins_at)
        try:
            if run.options.isolated:
                return await self._run_isolated(run, given)
            if isinstance(run.call.func, FanOut):
                return await self._run_jobs(run)
            value = await run(given)
            self._check_going_on()
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
        await self.record(run, "succeeded", self._attributes(), result=result, cursor=at)
        return value

    async def _run_jobs(self, run: StepRun) -> Any:
        place = _ChildrenPlace(self, run)
        results = await run({"place": place})
        self._check_going_on()
        await self.record(run, "succeeded", self._attributes(), children=place.children)
        return results

    async def _run_isolated(self, run: StepRun, given: dict[str, Any]) -> Any:
        value: Any = None
        text: str | None = None
        before, is_again = self._attributes(), False

        async def body(connection: Any) -> Write:
            nonlocal value, text, is_again
            if is_again:  # the database has undone what it did, and so do we
                attributes.restore(self._job, before)
            is_again = True
            if run.takes.takes_connection:
                given["connection"] = connection
            value = await run(given)
            self._check_going_on()
            value, result = run.stored(value)
            text = self._attributes()
            return run.write("succeeded", text, result=result)

        takes = run.takes
        await self._recorder.transact(body, through_sqlalchemy=takes.through_sqlalchemy, lends=takes.takes_connection)
        self._saved, self.progressed = text, True
        return value

    async def _failed(self, run: StepRun, error: Exception, *, is_late: bool = False) -> None:
        """Ask who has a say in a step's error; return when it is handled.

        Args:
            run: Of the step.
            error: What it raised.
            is_late: It took longer than its timeout: an error that ends the run, if nobody handles it.
        """
        options = run.options
        left = tuple(policy for policy in options.retry if not self._is_used_up(policy) or policy.on_exhausted)
        self._failure = (error, left)
        is_to_be_retried = find([policy for policy in left if not self._is_used_up(policy)], error) is not None
        # An error while it is cancelled is the cancellation's; and no handler makes code fit that does not.
        is_its_own = self._job.cancel_reason is None and not isinstance(error, InvalidStep | UnstorableResult)
        if options.on_error is None or is_to_be_retried or not is_its_own:
            raise self.attempt.end_by(error) if is_late else error
        handler = options.on_error
        await call_hook(lambda _job: self._asked(handler, error), self._job, limit=None)
        self._check_going_on()
        described = describe_error(error, attempt=self.attempt.number)
        await self.record(run, "handled", self._attributes(), error=described)

    def _is_used_up(self, policy: RetryOn) -> bool:
        return policy.attempts is not None and self.attempt.counts.get(policy.key, 0) + 1 >= policy.attempts

    def policies(self, error: BaseException | None) -> Sequence[Policy]:
        """Return what is asked about an error before the job's own declarations: those of the step that it came from."""
        if self._failure is None or error is None or not any(self._failure[0] is it for it in (error, error.__cause__)):
            return ()
        return self._failure[1]

    # Durable waits

    async def wait(self, name: str, *, event: str | None, key: str = "", seconds: float | None) -> Any:
        """Wait for a time or an event, without a slot: the run ends here unless it is over.

        Raises:
            TimeoutError: No event came in time.
        """
        self._check_going_on()
        try:
            return await self._wait(name, event, key, seconds)
        except InvalidStep as error:
            self.attempt.end_by(error)
            raise

    async def _wait(self, name: str, event: str | None, key: str, seconds: float | None) -> Any:
        if self._current is not None:
            self._refuse_overlap(name, self._current)
        record = self.progress.meet(name)
        if record is not None:
            self._check_form(record, name, "sleep" if event is None else "wait")
        if record is None or record.state not in ENDED:
            self.check()
            if record is None:
                form: StepForm = "sleep" if event is None else "wait"
                record = Record(self.progress.next_number, name, "sleeping" if event is None else "waiting", form=form)
            text = self._attributes()
            # Also when it was begun: whether it is over is for the database to say, whose clock and whose events count.
            record = await self._recorder.begin_wait(record, event=event, key=key, seconds=seconds, attributes=text)
            self._saved, self.progressed = text, True
        match record.state:
            case "sleeping" | "waiting":
                raise self.attempt.end_by(
                    Parked(record.remaining, on_event=event is not None, kind=self._kind, step=name)
                )
            case "timed_out":
                late = TimeoutError(f"no event {event!r} came in time")
                self._late = (late, record.n, name)
                raise late
        return None if record.result is None else codec.loads(record.result)

    def wait_again(self, error: BaseException | None) -> None:
        """Have the next attempt wait anew for an event that did not come in time, if that has ended this one.

        Recorded as it was, it would end every attempt at once. If the code caught the error and went on, that stands: the
        next attempt must not take another way.
        """
        if self._late is None:
            return
        late, number, name = self._late
        if number == self.progress.next_number and _comes_from(error, late):
            self._recorder.write(Write(number, name, "failed"))

    # Checkpoints

    @property
    def snapshot(self) -> Callable[[], str | None] | None:
        """Returns the job's attributes as JSON; None: it has none."""
        return partial(attributes.dump, self._job) if self._job._definition.attributes else None

    def check(self) -> None:
        """End the run here if its worker stops: it goes on elsewhere from what is recorded.

        Raises:
            Interrupted: It does.
        """
        if self.attempt.stopping:
            raise self.attempt.end_by(Interrupted(f"{self._kind} was interrupted at a checkpoint"))

    def _check_going_on(self) -> None:
        """Refuse to go on with a run that has ended, and to record what was cut, whatever the job's code made of that.

        Raises:
            BaseException: What has ended the run.
        """
        if self.attempt.is_over:
            raise self.attempt.end_of(None) or asyncio.CancelledError

    def _refuse_overlap(self, name: str, current: str) -> NoReturn:
        how = "inside" if inside.get() == current else "while another task of the job is in"
        raise InvalidStep(
            f"{self._kind}: step {name!r} is begun {how} step {current!r}: steps follow each other, and sleep, wait_for and "
            "run are steps themselves: call them from perform, between `await self.step(…)`; for things at once use "
            "cursor.map() or a TaskGroup inside one step"
        )

    def _attributes(self) -> str:
        return attributes.dump(self._job) or "{}"

    def record(
        self, run: StepRun, state: StepState, attributes: str, *, result: str | None = None, cursor: str | None = None,
        error: str | None = None, children: str | None = None,
    ) -> Awaitable[None]:  # fmt: skip
        """Have a step recorded, and the attributes; done when they are durable."""
        changed = None if attributes == self._saved else attributes
        self._saved, self.progressed = attributes, True
        return self._recorder.write(run.write(state, changed, result, cursor, error, children=children))


_FORMS: dict[StepForm, str] = {"code": "code", "jobs": "a run of other jobs", "wait": "a wait", "sleep": "a sleep"}


def _comes_from(error: BaseException | None, cause: BaseException) -> bool:
    """Whether an error is another, was raised from it, or gathers one that is."""
    if isinstance(error, BaseExceptionGroup):
        return any(_comes_from(leaf, cause) for leaf in error.exceptions)
    return error is not None and (error is cause or _comes_from(error.__cause__, cause))


class _ChildrenPlace:
    """Where is recorded what one run of a step runs."""

    def __init__(self, stepper: Stepper, run: StepRun) -> None:
        self._stepper = stepper
        self._run = run
        self.job = stepper._job
        self.attempt = stepper.attempt
        self.recorded = None if run.found is None else run.found.children
        self.is_last = run.found is None or stepper.progress.recorded[-1] is run.found
        self.children = ""

    def record_children(self, children: str) -> Awaitable[None]:
        self.children = children
        return self._stepper.record(self._run, "running", self._stepper._attributes(), children=children)


class _CursorPlace:
    """Where the cursor of one run of a step is recorded."""

    def __init__(self, stepper: Stepper, run: StepRun, values: Values) -> None:
        self._stepper = stepper
        self._run = run
        self.values = values
        self.attempt = stepper.attempt
        self.check = stepper.check
        self.refuse = stepper.attempt.end_by
        self.snapshot = stepper.snapshot
        self.is_exact, self.kept = values.is_exact, values.kept

    def read(self, text: str | None) -> Any:
        """Return where the cursor stands that was recorded.

        Raises:
            InvalidStep: The code records another type now: an id would be read as a time.
        """
        value = self.values.load(text)
        if text is not None and text[0] not in "[{" and self.values.dump(value) != text:
            raise InvalidStep(
                f"{self._run.where}: its cursor was recorded as {cut(text)}, which is read as {shown(value)} now: keep the "
                "type of a cursor while jobs are in flight, or run this job again from a step: asyncjobs jobs retry ID "
                "--from STEP"
            )
        return value

    def record_cursor(self, value: Any, attributes: str | None) -> Awaitable[None]:
        return self._stepper.record(self._run, "started", attributes or "{}", cursor=self.values.dump(value))


def steps_of_run(job: JobValue) -> Stepper:
    """Return the steps of the run of a job that is going on.

    Raises:
        NotRunning: None is.
    """
    return resume(job, []) if job._stepper is None else cast("Stepper", job._stepper)


def resume(job: JobValue, records: Sequence[Record]) -> Stepper:
    """Have the steps of the run of a job that is going on begin with what is recorded of those before."""
    if job._attempt is None:
        raise NotRunning(
            f"{job._definition.kind} is not running here: steps belong into a job's own code; in a function job use "
            "`current_job().step(…)`"
        )
    assignments.watch(type(job))
    job._stepper = stepper = Stepper(job, job._attempt, job._attempt.recorder, records)
    return stepper
