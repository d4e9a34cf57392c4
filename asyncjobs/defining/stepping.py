"""Running the steps of one attempt: what is recorded is not run again, and what has run is recorded before the job goes on."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from asyncjobs.defining import attributes, codec
from asyncjobs.defining.arguments import ResultCodec
from asyncjobs.defining.cursors import Cursor
from asyncjobs.defining.hooks import call_hook
from asyncjobs.defining.policies import Policy, RetryOn, find
from asyncjobs.defining.recorded import ENDED, Progress, Record, Recorder, Write
from asyncjobs.defining.signals import Interrupted, Parked
from asyncjobs.defining.steps import Code, Step, StepOptions
from asyncjobs.defining.stored_errors import describe_error
from asyncjobs.defining.uncut import uncut
from asyncjobs.exceptions import InvalidStep

if TYPE_CHECKING:
    from asyncjobs.defining.base import Attempt, Job

inside: ContextVar[str | None] = ContextVar("asyncjobs_step", default=None)
"""The step whose code is running here: tells a step inside another from one beside it."""

_code_of = cache(Code.of)


class Stepper:
    """The steps of one attempt.

    Args:
        job: That runs.
        attempt: Its run.
        recorder: Where its steps are recorded.
        records: What earlier attempts have recorded.
    """

    def __init__(self, job: Job[Any], attempt: Attempt, recorder: Recorder, records: Sequence[Record] = ()) -> None:
        self._job = job
        self._attempt = attempt
        self._recorder = recorder
        self.progress = Progress(job.kind, records)
        self.resumed = bool(records)
        """Whether an earlier attempt has recorded something."""
        self.progressed = False
        """Whether this attempt has."""
        self._failure: tuple[BaseException, tuple[RetryOn, ...]] | None = None
        self._current: str | None = None
        self._saved = attributes.dump(job) if records else None

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
            arguments: For the function, and so are `named`.
            options: Of the step.
            code: The names of all steps, for messages.

        Raises:
            InvalidStep: It is out of place.
            Exception: Its own.
        """
        self._refuse_overlap(name)
        record = self.progress.meet(name, formerly=options.formerly, code=code)
        takes = _code_of(getattr(function, "__func__", function))
        results = _results_of(self._job.kind, name, takes.returns)
        if record is not None and record.state in ENDED:
            return results.load(record.result)
        if record is not None and record.state != "started":
            raise InvalidStep(f"{self._job.kind}: step {name!r} was recorded as a wait, and is run as code now")
        self.check()
        place = Record(self.progress.next_number, name if record is None else record.name, "started")
        self._current, token = name, inside.set(name)
        began = time.monotonic()
        try:
            if not await self._is_to_run(options):
                await self._write(place._replace(state="skipped"), began)
                return None
            call = partial(function, *arguments, **named)
            return await self._run(place, record, call, takes, options, results, began)
        finally:
            self._current = None
            inside.reset(token)

    async def _is_to_run(self, options: StepOptions) -> bool:
        if options.when is not None and not await self._asked(options.when):
            return False
        return options.unless is None or not await self._asked(options.unless)

    async def _asked(self, what: Any, *more: Any) -> Any:
        answer = getattr(self._job, what)(*more) if isinstance(what, str) else what(self._job, *more)
        return await answer if inspect.isawaitable(answer) else answer

    async def _run(
        self, place: Record, record: Record | None, call: Callable[..., Any], takes: Code, options: StepOptions,
        results: ResultCodec, began: float,
    ) -> Any:  # fmt: skip
        given: dict[str, Any] = {}
        cursor: Cursor[Any] | None = None
        if takes.cursor is not None and takes.cursor_name not in getattr(call, "keywords", {}):
            values = _results_of(self._job.kind, f"{place.name}.cursor", takes.cursor)
            at = None if record is None else record.cursor
            cursor = given[takes.cursor_name] = Cursor(_CursorPlace(self, place, values, began), values.load(at))
        try:
            if options.isolated:
                return await self._run_isolated(place, call, takes, given, options, results, began)
            value = await _called(call, takes, given, options.timeout)
        except Exception as error:
            if cursor is not None:
                await cursor.flush()
            return await self._failed(place, options, error, began)
        except BaseException:
            if cursor is not None:
                cursor.leave()
            raise
        ended = place._replace(state="succeeded", result=results.dump(value))
        if cursor is not None:
            cursor.close()
            ended = ended._replace(cursor=values.dump(cursor.value))
        await self._write(ended, began)
        return value

    async def _run_isolated(
        self, place: Record, call: Callable[..., Any], takes: Code, given: dict[str, Any], options: StepOptions,
        results: ResultCodec, began: float,
    ) -> Any:  # fmt: skip
        value: Any = None
        text: str | None = None

        async def body(connection: Any) -> Write:
            nonlocal value, text
            if takes.takes_connection:
                given["connection"] = connection
            value = await _called(call, takes, given, options.timeout)
            text = attributes.dump(self._job)
            ended = place._replace(state="succeeded", result=results.dump(value))
            return Write(ended, text, time.monotonic() - began)

        await self._recorder.transact(body)
        self._saved, self.progressed = text, True
        return value

    async def _failed(self, place: Record, options: StepOptions, error: Exception, began: float) -> None:
        """Ask who has a say in a step's error; return when it is handled."""
        left = tuple(policy for policy in options.retry if not self._is_used_up(policy) or policy.on_exhausted)
        self._failure = (error, left)
        is_to_be_retried = find([policy for policy in left if not self._is_used_up(policy)], error) is not None
        if options.on_error is None or isinstance(error, InvalidStep) or is_to_be_retried:
            raise error
        handler = options.on_error
        await call_hook(lambda _job: self._asked(handler, error), self._job, limit=None)
        described = describe_error(error, attempt=self._attempt.number)
        await self._write(place._replace(state="handled"), began, error=described)

    def _is_used_up(self, policy: RetryOn) -> bool:
        return policy.attempts is not None and self._attempt.counts.get(policy.key, 0) + 1 >= policy.attempts

    def policies(self, error: BaseException | None) -> Sequence[Policy]:
        """Return what is asked about an error before the job's own declarations: those of the step that it came from."""
        if self._failure is None or error is None or self._failure[0] not in (error, error.__cause__):
            return ()
        return self._failure[1]

    # Durable waits

    async def wait(self, name: str, *, event: str | None, key: str = "", seconds: float | None) -> Any:
        """Wait for a time or an event, without a slot: the run ends here unless it is over.

        Raises:
            TimeoutError: No event came in time.
        """
        self._refuse_overlap(name)
        record = self.progress.meet(name)
        if record is None or record.state not in ENDED:
            self.check()
            if record is None:
                record = Record(self.progress.next_number, name, "sleeping" if event is None else "waiting")
            text = attributes.dump(self._job)
            # Also when it was begun: whether it is over is for the database to say, whose clock and whose events count.
            record = await self._recorder.begin_wait(record, event=event, key=key, seconds=seconds, attributes=text)
            self._saved, self.progressed = text, True
        match record.state:
            case "sleeping" | "waiting":
                raise Parked(record.remaining, on_event=event is not None)
            case "timed_out":
                raise TimeoutError(f"no event {event!r} came in time")
            case "succeeded":
                return None if record.result is None else codec.loads(record.result)
        raise InvalidStep(f"{self._job.kind}: step {name!r} was recorded as code ({record.state}), and is a wait now")

    # Checkpoints

    def check(self) -> None:
        """End the run here if its worker stops: it goes on elsewhere from what is recorded.

        Raises:
            Interrupted: It does.
        """
        if self._attempt.stopping:
            raise Interrupted(f"{self._job.kind} was interrupted at a checkpoint")

    def _refuse_overlap(self, name: str) -> None:
        if self._current is not None:
            how = "inside" if inside.get() == self._current else "while another task of the job is in"
            raise InvalidStep(
                f"{self._job.kind}: step {name!r} is begun {how} step {self._current!r}: steps follow each other; for things "
                "at once use cursor.map() or a TaskGroup inside one step"
            )

    async def _write(self, record: Record, began: float, *, error: str | None = None) -> None:
        await asyncio.shield(asyncio.ensure_future(self.write_soon(record, began, error=error)))

    def write_soon(self, record: Record, began: float, *, error: str | None = None) -> Awaitable[None]:
        """Have a step and the attributes recorded; done when they are durable."""
        text = attributes.dump(self._job)
        changed = None if text == self._saved else text
        self._saved, self.progressed = text, True
        return self._recorder.write(Write(record, changed, time.monotonic() - began, error))


class _CursorPlace:
    """Where the cursor of one run of a step is recorded."""

    def __init__(self, stepper: Stepper, place: Record, values: ResultCodec, began: float) -> None:
        self._stepper = stepper
        self._place = place
        self._values = values
        self._began = began
        self.check = stepper.check

    def record_cursor(self, value: Any) -> Awaitable[None]:
        return self._stepper.write_soon(self._place._replace(cursor=self._values.dump(value)), self._began)


@cache
def _results_of(kind: str, name: str, annotation: Any) -> ResultCodec:
    return ResultCodec(f"{kind}.{name}", annotation)


async def _called(call: Callable[..., Any], takes: Code, given: dict[str, Any], timeout: float | None) -> Any:
    """Call a step's function; a `def` runs in a thread, which is waited for whatever happens."""
    async with asyncio.timeout(timeout):
        if takes.is_async:
            return await call(**given)
        value, error = await uncut(_in_thread(partial(call, **given)))
        if error is not None:
            raise error
        return await value if inspect.isawaitable(value) else value


async def _in_thread(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return await anyio.to_thread.run_sync(call), None
    except BaseException as error:  # SystemExit, let out of this task, would end the loop
        return None, error
