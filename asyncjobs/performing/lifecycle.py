"""The lifecycle of an attempt, from its row to its outcome: load, start, perform, decide, settle. The caller records it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import anyio

from asyncjobs.checks.durations import spell
from asyncjobs.checks.foreign_texts import log
from asyncjobs.definitions import attributes
from asyncjobs.definitions.hooks import Hooks
from asyncjobs.exceptions import DatabaseError, InvalidStep, JobCrashed, JobExpired, OtherVersion, UnstorableResult
from asyncjobs.failing.deciding import Decision, What, decide
from asyncjobs.failing.policies import Policy
from asyncjobs.performing import context_variables, hook_calls, running_job, tracing
from asyncjobs.performing.follow_ups import prepare
from asyncjobs.performing.hook_calls import Layers, logged
from asyncjobs.performing.interruptions import interrupted
from asyncjobs.performing.job_code import load_references, perform
from asyncjobs.performing.job_value import JobValue
from asyncjobs.performing.outcomes import SUCCEEDED, Outcome, plain, settle
from asyncjobs.performing.stepping import resume
from asyncjobs.performing.versions import given_back, not_taken_in_time, without_wait
from asyncjobs.records.claimed import Claimed, Refused
from asyncjobs.records.step_records import Recorder, Write
from asyncjobs.tasks.shielding import shielded
from asyncjobs.values import codec
from asyncjobs.values.shape import MOST_STORED

if TYPE_CHECKING:
    from asyncjobs.definitions.definition import Definition
    from asyncjobs.performing.attempt import Attempt, CancelReason, Recorders, Shows, ShowsOf

logger = logging.getLogger("asyncjobs.worker")

_GOES_ON = (What.retry, What.snooze, What.release)


class Lifecycle:
    """The runner of attempts, each in the task that calls it.

    Args:
        middleware: Around every job, the outermost first.
        recorders: Makers of the recorders of steps.
        shows: Makers of what takes progress and streams; None: nothing takes them.
        cancel: Cancels an attempt whose time is over, and makes sure that it ends; None: the attempt's `cancel`.
        max_interruptions: Interruptions in a row without progress that a job may have; None: the caller counts them.
        version_grace: Seconds for which a job is given back whose arguments may be another version's; None: not at all.
        is_ending: Whether the worker is being cancelled, as by a loop that ends.
        in_worker: Whether a worker runs the attempts, and not `perform_now`.
        threads: Bounds the threads of `def` jobs; None is anyio's default of 40.
        warned_of: Kinds that have had the warning that their `perform` runs none of their steps.
    """

    def __init__(
        self,
        *,
        middleware: Sequence[Any],
        recorders: Recorders,
        shows: ShowsOf | None = None,
        cancel: Callable[[Attempt, CancelReason], object] | None = None,
        max_interruptions: int | None,
        version_grace: float | None,
        is_ending: Callable[[], bool] = lambda: False,
        in_worker: bool = True,
        threads: anyio.CapacityLimiter | None = None,
        warned_of: set[str] | None = None,
    ) -> None:
        self._layers = Layers(middleware)
        self._recorders = recorders
        self._shows = shows
        self.cancel = cancel
        self._max_interruptions = max_interruptions
        self._version_grace = version_grace
        self._is_ending = is_ending
        self._in_worker = in_worker
        self._threads = threads
        self.in_threads: set[UUID] = set()
        """Jobs whose threads still run; a thread outlives its task when the loop is closed."""
        self._warned_of = set[str]() if warned_of is None else warned_of
        self._gave_back: set[str] = set()

    def run(self, attempt: Attempt, definition: Definition) -> Coroutine[Any, Any, Outcome]:
        """Run an attempt and return its outcome. Errors of the job do not get out, except those that `let_out` raises."""
        run = self._run_surrounded if context_variables.around else self._run
        if tracing.active is not None:
            return tracing.active.processing(run(attempt, definition), attempt, in_worker=self._in_worker)
        return run(attempt, definition)

    async def _run_surrounded(self, attempt: Attempt, definition: Definition) -> Outcome:
        with context_variables.surroundings(in_worker=self._in_worker):
            return await self._run(attempt, definition)

    async def _run(self, attempt: Attempt, definition: Definition) -> Outcome:
        job: JobValue | None = None
        result: str | None = None
        error: BaseException | None = None
        try:
            job = self._load(attempt, definition)
            if attempt.claimed.progress is not None:
                await _resume(job, attempt, attempt.claimed.progress)
            self.start(attempt, definition)
            result = await self._perform(attempt, job, definition)
        except BaseException as raised:
            # SystemExit, KeyboardInterrupt and GeneratorExit too: outside the task, each of them would end the loop.
            error = raised
        if error is not None or attempt.cancel_reason is not None or attempt.ended_by is not None:
            error = self._end_of(attempt, error)
        if attempt.recorded is not None:
            if job is not None and job._stepper is not None:
                job._stepper.waits.wait_again(error)
            await _settled(attempt.recorded)
        if attempt.shown is not None:
            error = await _durable(attempt.shown) or error
        if error is None and attempt.cancel_reason is None:
            if attempt.following is not None:
                return Outcome(What.succeed, result=result, then=attempt.then)
            return SUCCEEDED if result is None else Outcome(What.succeed, result=result)
        outcome = await self._conclude(attempt, definition, job, error)
        if attempt.shown is not None:
            await _durable(attempt.shown)  # hooks may have shown more
        return outcome

    # Load and start

    def _load(self, attempt: Attempt, definition: Definition) -> JobValue:
        job = _decoded(definition, attempt.claimed)
        job._attempt = attempt
        attempt.recorders, attempt.shows, attempt.cancel_by = self._recorders, self._shows, self.cancel
        running_job.running.set(job)
        if running_job.on_begin is not None:
            running_job.on_begin(job)
        return job

    def start(self, attempt: Attempt, definition: Definition) -> None:
        """Begin the time of an attempt, and its timeout."""
        attempt.started = True
        if (limit := definition.options.timeout) is not None:
            attempt.timer = asyncio.get_running_loop().call_later(limit, attempt.cancel_well, "timeout")

    # Perform

    async def _perform(self, attempt: Attempt, job: JobValue, definition: Definition) -> str | None:
        """Run a job's code; return its result as it is stored."""
        try:
            if definition.arguments.has_references:
                await load_references(job)
            hooks = self._layers.around(definition)
            if hooks.on_perform:
                result = await self._perform_inside(hooks, attempt, job, definition)
            else:
                result = await self._perform_plainly(job, definition)
                attempt.finished = not self._was_cancelled(attempt)
        finally:
            if attempt.timer is not None:
                attempt.stop_timer()
        text = None if result is None else definition.result.dump(result)
        if attempt.following is not None:
            await prepare(attempt)
        if definition.steps:
            self._warn_of_steps_left(job, definition)
        return text

    async def _perform_inside(self, hooks: Hooks, attempt: Attempt, job: JobValue, definition: Definition) -> Any:
        """Run a job's code inside hooks, whose errors do not undo a result."""
        done: list[Any] = []

        async def run() -> Any:
            result = await self._perform_plainly(job, definition)
            if not self._was_cancelled(attempt):
                attempt.stop_timer()  # hooks after this have a limit of their own
                attempt.finished = True
                done.append(result)
            return result

        try:
            return await hook_calls.perform(hooks, job, run)
        except BaseException as raised:
            if not done or attempt.cancel_reason in ("user", "lease_lost"):
                raise
            attempt.let_out(raised)
            # A hook exits, or the worker stops during one: the work is done, and a job given back would do it twice.
            if not isinstance(raised, asyncio.CancelledError):
                logged(raised, job, "a hook failed; the job's outcome does not change")
            return done[0]

    def _perform_plainly(self, job: Any, definition: Definition) -> Any:
        if definition.is_async:
            return job.perform()
        return perform(job, limiter=self._threads, going_on=self.in_threads)

    def _was_cancelled(self, attempt: Attempt) -> bool:
        """Whether the attempt was cancelled."""
        task = attempt.task
        # A loop that ends cancels all tasks, in any order: perhaps this one before the worker's, which sets the reason.
        if attempt.cancel_reason is None and task is not None and task.cancelling() and self._is_ending():
            attempt.cancel_reason = "shutdown"
        return attempt.cancel_reason is not None

    def _end_of(self, attempt: Attempt, error: BaseException | None) -> BaseException | None:
        """Return the error with which the run ends, even if its code caught it."""
        attempt.uncancel()
        if error is not None:
            attempt.let_out(error)
        error = attempt.end_of(error)
        # Its code caught the cancellation, and made an unfinished result, or something that cannot be stored.
        was_cut = attempt.cancel_reason == "shutdown" and not attempt.finished and attempt.ended_by is None
        if was_cut and (error is None or isinstance(error, InvalidStep | UnstorableResult)):
            return asyncio.CancelledError()
        return error

    # Decide and settle

    async def conclude(self, attempt: Attempt, definition: Definition, error: BaseException) -> Outcome:
        """Return the outcome of an attempt whose code did not run in this process.

        Args:
            attempt: The attempt.
            definition: Its job's definition.
            error: The error from the process in which it ran, or from before it ran.
        """
        attempt.uncancel()
        with context_variables.surroundings(in_worker=self._in_worker):
            return await self._conclude(attempt, definition, None, error)

    async def _conclude(
        self, attempt: Attempt, definition: Definition, job: JobValue | None, error: BaseException | None
    ) -> Outcome:
        """Return the outcome of an attempt that did not simply succeed, after its policies and hooks."""
        claimed, stored = attempt.claimed, attempt.counts
        counts = without_wait(stored)
        was_cancelled = self._was_cancelled(attempt)
        # Only for the job's own arguments: its code may raise the same error about another job's.
        if job is None and isinstance(error, OtherVersion) and not was_cancelled and self._version_grace is not None:
            if (outcome := given_back(error, stored, self._version_grace)) is not None:
                self._warn_of_version(claimed, error, self._version_grace)
                return outcome
            error = not_taken_in_time(error, self._version_grace)
        decision = _refusal(claimed, definition) or decide(
            error,
            cancel_reason=attempt.cancel_reason,
            timeout=definition.options.timeout,
            policies=_policies(job, error, definition),
            counts=counts,
        )
        if job is None:
            job = _unread(definition, claimed)
            job._attempt = attempt
            running_job.running.set(job)
            if running_job.on_begin is not None:
                running_job.on_begin(job)
        try:
            outcome = await settle(job, decision, self._layers.around(definition), counts)
        except BaseException as raised:  # cancelled meanwhile, or a hook's SystemExit
            attempt.let_out(raised)
            outcome = plain(decide(raised, cancel_reason=attempt.cancel_reason))
        if attempt.started:
            # A job that waits for others may be interrupted without limit: how long they take is not its fault.
            if outcome.what is What.release and not attempt.was_waiting and self._max_interruptions is not None:
                outcome = await self._interrupt(job, outcome, error, counts, most=self._max_interruptions)
            if outcome.what in _GOES_ON and definition.attributes:
                outcome = await self._save_attributes(attempt, job, outcome)
        if outcome.what is What.succeed and attempt.following is not None:
            outcome = await self._with_what_follows(attempt, job, outcome)
        return outcome._replace(
            counts=counts if outcome.counts is None and counts != stored else outcome.counts, cause=decision.error
        )

    async def _interrupt(
        self, job: JobValue, outcome: Outcome, error: BaseException | None, counts: Mapping[str, int], *, most: int
    ) -> Outcome:
        progressed = job._stepper is not None and job._stepper.log.progressed
        found = interrupted(job, outcome, error, progressed=progressed, counts=counts, most=most)
        return found if isinstance(found, Outcome) else await self._fail(job, found)

    async def _save_attributes(self, attempt: Attempt, job: JobValue, outcome: Outcome) -> Outcome:
        """Save the attributes of a job that goes on and has no steps; a job with steps saves them with its steps.

        Saved in the middle of a step, an attribute would be counted up twice when the step runs again.
        """
        stepper = job._stepper
        if stepper is not None and (stepper.log.progress.next_number or stepper.log.progress.recorded):
            return outcome
        try:
            text = attributes.dump(job)
        except UnstorableResult as error:
            if attempt.cancel_reason == "shutdown":
                return outcome  # set when the worker stopped: those saved last are kept
            return await self._fail(job, error)
        if text != attempt.claimed.progress:
            attempt.recorder.write(Write(attributes=text))
            await _settled(attempt.recorder)
        return outcome

    async def _with_what_follows(self, attempt: Attempt, job: JobValue, outcome: Outcome) -> Outcome:
        """Return the success of a job whose error was rescued, with the jobs that follow it."""
        try:
            await prepare(attempt)
        except Exception as error:
            return await self._fail(job, error)
        return outcome._replace(then=attempt.then)

    async def _fail(self, job: JobValue, error: Exception) -> Outcome:
        try:
            return await settle(job, Decision(What.fail, error), self._layers.around(job._definition), {})
        except BaseException:  # cancelled meanwhile, or a hook's SystemExit
            return Outcome(What.fail, error)

    # Warnings

    def _warn_of_steps_left(self, job: JobValue, definition: Definition) -> None:
        """Warn once of a kind whose own `perform` has run no step: the call is easily forgotten, and the job succeeds."""
        if definition.kind not in self._warned_of and (
            job._stepper is None or not job._stepper.log.progress.next_number
        ):
            self._warned_of.add(definition.kind)
            text = "%s declares steps, and its perform() has run none of them: is `await self.run_steps()` missing?"
            log(logger, logging.WARNING, text, definition.kind)

    def _warn_of_version(self, claimed: Claimed, error: OtherVersion, grace: float) -> None:
        """Warn once of a kind whose jobs are given back for a worker of another version."""
        if claimed.kind not in self._gave_back:
            self._gave_back.add(claimed.kind)
            text = (
                "%s %s was given back: its arguments may be another version's (%s); such jobs of this kind wait %s at most "
                "for a worker whose code takes them, and then fail"
            )
            log(logger, logging.WARNING, text, claimed.kind, claimed.id, error.facts, spell(grace))


def _decoded(definition: Definition, claimed: Claimed) -> JobValue:
    """Decode a row, inside the job's own task so that errors become the job's."""
    job: JobValue = definition.load(claimed.args)
    job._id, job._queue, job._priority = claimed.id, claimed.queue, claimed.priority
    job._sent, job._state = True, "running"
    return job


def _unread(definition: Definition, claimed: Claimed) -> JobValue:
    """Return a job that does not run or cannot be read, for its handlers, with the stored arguments if they are JSON."""
    try:
        return _decoded(definition, claimed)
    except Exception:
        values: Any = None
    if len(claimed.args) <= MOST_STORED:
        with contextlib.suppress(ValueError):
            values = codec.loads(claimed.args)
    job: JobValue = definition.restore(values if isinstance(values, dict) else {})
    job._id, job._queue, job._priority = claimed.id, claimed.queue, claimed.priority
    job._sent, job._state = True, "running"
    return job


async def _resume(job: JobValue, attempt: Attempt, progress: str) -> None:
    """Give a job the records of earlier attempts."""
    records = await attempt.recorder.load()
    attributes.restore(job, progress)
    resume(job, records)


async def _settled(recorded: Recorder | Shows) -> None:
    """Wait until all that an attempt has recorded is durable: after its end is written, it would be refused."""
    with contextlib.suppress(asyncio.CancelledError):  # `cancel_reason` keeps the cancellation
        await shielded(recorded.settled())


async def _durable(shown: Shows) -> DatabaseError | None:
    """Wait until all that an attempt has shown is durable; return the error of an item that the database refuses."""
    try:
        await _settled(shown)
    except DatabaseError as refused:
        return refused
    return None


def _policies(job: JobValue | None, error: BaseException | None, definition: Definition) -> Sequence[Policy]:
    if job is None or job._stepper is None:
        return definition.policies
    return (*job._stepper.policies(error), *definition.policies)


def _refusal(claimed: Claimed, definition: Definition) -> Decision | None:
    """Return the decision about a claimed job that is not to be run; None: it was run."""
    match claimed.refused:
        case Refused.cancelled:
            return Decision(What.cancel)
        case Refused.expired:
            late = JobExpired(f"it was not started within {definition.options.expires_in or 0:g} s of being due")
            return Decision(What.discard, late, None, late)
        case Refused.crashed:
            return Decision(
                What.fail,
                JobCrashed(
                    f"its process died {claimed.crashes} times while it ran; max_crashes is {definition.max_crashes}"
                ),
            )
    return None
