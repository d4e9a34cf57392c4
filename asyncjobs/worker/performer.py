"""The performer runs one attempt, from its row to the row that says how it ended. It writes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from uuid import UUID

import anyio

from asyncjobs.db.rows import Claimed, Finish, Refused, Reschedule, State
from asyncjobs.defining import attributes, codec, context, contexts, registry
from asyncjobs.defining.argument_shape import MOST_STORED
from asyncjobs.defining.attempt import CancelReason
from asyncjobs.defining.base import Job
from asyncjobs.defining.deciding import Verdict, What, decide
from asyncjobs.defining.definition import Definition
from asyncjobs.defining.hooks import Hooks, Layers, logged
from asyncjobs.defining.performing import load_references, perform
from asyncjobs.defining.policies import Policy
from asyncjobs.defining.recorded import Write
from asyncjobs.defining.settling import Ending, plain, settle
from asyncjobs.defining.stored_errors import describe_error
from asyncjobs.defining.uncut import uncut
from asyncjobs.defining.versions import VERSION_GRACE, given_back, nobody_came, without_wait
from asyncjobs.durations import spell
from asyncjobs.exceptions import InvalidDefinition, JobCrashed, JobExpired, OtherVersion, UnstorableResult
from asyncjobs.harmless import log
from asyncjobs.worker.apart import Apart, CannotFork, ChildDied
from asyncjobs.worker.attempts import Attempt
from asyncjobs.worker.ends import End
from asyncjobs.worker.interruptions import interrupted
from asyncjobs.worker.outcomes import counts_of, outcome
from asyncjobs.worker.recorder import AttemptRecorder, StepWriter
from asyncjobs.worker.telling import Teller

logger = logging.getLogger("asyncjobs.worker")

AGAIN = 1.0
"""Seconds until a job is claimed again for which there was no process."""

_GOES_ON = (What.retry, What.snooze, What.release)


class Performer:
    """Runs attempts, each in the task that calls it.

    Args:
        retention: Seconds that a finished job is kept when its definition does not say.
        middleware: Around every job, the outermost first.
        cancel: Cancels an attempt whose time is over.
        cleanup_timeout: Seconds between the cancellation of an attempt in a process of its own and the end of that.
        writer: Of what is recorded of steps.
        max_interruptions: How often in a row a job may be interrupted without progress.
        version_grace: Seconds for which a job is given back whose arguments may be another version's.
        apart: Where attempts run that need a process of their own; None: this is one.
        is_ending: Whether the worker is being cancelled, as by a loop that ends.
    """

    def __init__(
        self,
        *,
        retention: float,
        middleware: Sequence[Any],
        cancel: Callable[[Attempt, CancelReason], object],
        writer: StepWriter,
        max_interruptions: int = 10,
        cleanup_timeout: float = 5.0,
        version_grace: float = VERSION_GRACE,
        apart: Apart | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_ending = is_ending
        self._max_interruptions = max_interruptions
        self._cleanup_timeout = cleanup_timeout
        self._version_grace = version_grace
        self._apart = apart
        self._default_days = math.ceil(retention / 86_400)
        self._layers = Layers(middleware)
        self._cancel = cancel
        self._writer = writer
        self._teller = Teller()
        self._warned_of: set[str] = set()
        self._gave_back: set[str] = set()
        self.in_threads: set[UUID] = set()
        """Jobs whose threads go on; they outlive their tasks when the loop is closed under them."""
        # Slots bound the threads. A `def` job that awaits another gives back its slot and keeps its thread: with as many
        # threads as slots, parents would keep their children from starting.
        self._threads = anyio.CapacityLimiter(math.inf)

    def run(self, attempt: Attempt) -> Coroutine[Any, Any, End]:
        """Run an attempt and return what is to be written about it. Nothing a job raises gets out."""
        return self._run_surrounded(attempt) if contexts.around else self._run(attempt)

    async def _run_surrounded(self, attempt: Attempt) -> End:
        with contexts.surroundings(in_worker=True):
            return await self._run(attempt)

    async def _run(self, attempt: Attempt) -> End:
        claimed = attempt.claimed
        definition = registry.find(claimed.kind)
        job: Job[Any] | None = None
        text: str | None = None
        error: BaseException | None = asyncio.CancelledError()  # until it has begun
        try:
            if definition is None:
                raise LookupError(f"kind {claimed.kind!r} was claimed and is not defined here any more")
            if attempt.cancel_reason is None and not claimed.refused:
                apart = self._apart if attempt.apart or definition.options.executor == "process" else None
                if apart is not None:
                    return await self._run_apart(apart, attempt, definition)
                job = _load(definition, claimed)
                job._attempt = attempt
                attempt.writer, attempt.cancel_by = self._writer, self._cancel
                context.running.set(job)
                if claimed.progress is not None:
                    await _resume(job, attempt, claimed.progress)
                text = await self._perform(attempt, job, definition)
                error = None
                self._warn_of_steps_left(job, definition)
        except ChildDied as died:
            evidence = f"{died}{await self._writer.last_step(claimed.id)}"
            crash = describe_error(JobCrashed(evidence), attempt=claimed.attempt)
            log(logger, logging.ERROR, "%s %s: %s", claimed.kind, claimed.id, died)
            alone = died.together == 1
            together = None if alone else died.together // 2
            return Reschedule(claimed.id, claimed.fence, error=crash, spent=True, crashed=alone, together=together)
        except CannotFork as raised:
            if self._apart is not None and self._apart.available:
                log(logger, logging.WARNING, "%s %s was not begun: %s", claimed.kind, claimed.id, raised)
                return Reschedule(claimed.id, claimed.fence, AGAIN)
            if attempt.apart:
                # It did not ask for a process of its own: it waits for the one place that suspects have in this one.
                log(logger, logging.WARNING, "%s; suspects run one at a time among the ordinary jobs", raised)
                return Reschedule(claimed.id, claimed.fence)
            error = raised
        except BaseException as raised:
            # SystemExit, KeyboardInterrupt and GeneratorExit too: let out of a task, each of them ends the loop.
            error = raised
            self._is_cut(attempt)
        error = attempt.end_of(error)
        if error is None and attempt.cancel_reason == "shutdown" and not attempt.finished:
            error = asyncio.CancelledError()  # which its code has caught, and has returned what it had by then
        if attempt.recorded is not None:
            if job is not None and job._stepper is not None:
                job._stepper.wait_again(error)
            await self._settled(attempt.recorded)
        if error is None and attempt.cancel_reason is None:
            return Finish(claimed.id, claimed.fence, State.succeeded, text, None, None, self._days(definition))
        try:
            return await self._conclude(attempt, definition, job, text, error)
        except BaseException as broken:
            # An exception class that lies about itself: without an end, its row would be running while this worker lives.
            described = describe_error(broken, attempt=claimed.attempt)
            return Finish(claimed.id, claimed.fence, State.failed, None, described, None, self._days(definition))

    def _warn_of_steps_left(self, job: Job[Any], definition: Definition) -> None:
        """Warn once of a kind whose own `perform` has run no step: the call is easily forgotten, and the job succeeds."""
        if not definition.steps or definition.kind in self._warned_of:
            return
        if job._stepper is None or not job._stepper.progress.next_number:
            self._warned_of.add(definition.kind)
            text = "%s declares steps, and its perform() has run none of them: is `await self.run_steps()` missing?"
            log(logger, logging.WARNING, text, definition.kind)

    def _warn_of_version(self, claimed: Claimed, error: OtherVersion) -> None:
        """Warn once of a kind whose jobs are given back for a worker of another version."""
        if claimed.kind not in self._gave_back:
            self._gave_back.add(claimed.kind)
            text = (
                "%s %s was given back: its arguments may be another version's (%s); such jobs of this kind wait for a "
                "worker that takes them, for %s at most"
            )
            log(logger, logging.WARNING, text, claimed.kind, claimed.id, error.facts, spell(self._version_grace))

    async def _settled(self, recorded: AttemptRecorder) -> None:
        """Wait until what is recorded of an attempt is durable: once its end is written, it would be refused."""
        with contextlib.suppress(asyncio.CancelledError):  # which `cancel_reason` tells of
            await uncut(recorded.settled())

    async def _run_apart(self, apart: Apart, attempt: Attempt, definition: Definition) -> End:
        """Run an attempt in a process of its own; its timeout is kept from here, whatever blocks it there."""
        await apart.ready()  # what importing the modules takes is not the job's
        if attempt.claimed.kind not in apart.kinds:
            if definition.options.executor != "process":
                # A suspect: claimed again, it runs in this process, one of them at a time, and its death here is charged.
                return Reschedule(attempt.claimed.id, attempt.claimed.fence)
            raise InvalidDefinition(
                f"{definition.source} is not defined where its module is imported for jobs in processes of their own: "
                "define it at the module's top level, under no condition"
            )
        self._start_timer(attempt, definition)
        grace = 0.0 if definition.options.executor == "process" else self._cleanup_timeout
        try:
            return await apart.run(attempt, grace=grace)
        finally:
            attempt.stop_timer()

    def _start_timer(self, attempt: Attempt, definition: Definition) -> None:
        attempt.started = True
        limit = definition.options.timeout
        if limit is not None:
            attempt.timer = asyncio.get_running_loop().call_later(limit, self._cancel, attempt, "timeout")

    async def _perform(self, attempt: Attempt, job: Job[Any], definition: Definition) -> str | None:
        """Run a job's code; return its result as it is to be stored."""
        self._start_timer(attempt, definition)
        try:
            if definition.arguments.has_references:
                await load_references(job)
            hooks = self._layers.around(definition)
            if hooks.on_perform:
                result = await self._perform_inside(hooks, attempt, job, definition)
            else:
                result = await self._perform_plainly(job, definition)
                attempt.finished = not self._is_cut(attempt)
        finally:
            attempt.stop_timer()
        return None if result is None else definition.result.dump(result)

    async def _perform_inside(self, hooks: Hooks, attempt: Attempt, job: Job[Any], definition: Definition) -> Any:
        """Run a job's code inside hooks, none of which undoes what it has done."""
        done: list[Any] = []

        async def run() -> Any:
            result = await self._perform_plainly(job, definition)
            if not self._is_cut(attempt):
                attempt.stop_timer()  # the hooks that follow have a limit of their own
                attempt.finished = True
                done.append(result)
            return result

        try:
            return await hooks.perform(job, run)
        except BaseException as raised:
            if not done or attempt.cancel_reason in ("user", "lease_lost"):
                raise
            # A hook exits, or the worker stops during one: the work is done, and given back it would be done twice.
            if not isinstance(raised, asyncio.CancelledError):
                logged(raised, job, "a hook failed; the job's outcome is what it was")
            return done[0]

    def _is_cut(self, attempt: Attempt) -> bool:
        """Whether a run was cancelled, before it came to its end or was ended otherwise."""
        if attempt.cancel_reason is None and self._is_ending():
            # A loop that ends cancels all tasks, in any order: this one perhaps before the one that would have told it.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                attempt.cancel_reason = "shutdown"
        return attempt.cancel_reason is not None

    def _perform_plainly(self, job: Any, definition: Definition) -> Any:
        if definition.is_async:
            return job.perform()
        return perform(job, limiter=self._threads, going_on=self.in_threads)

    async def _conclude(
        self,
        attempt: Attempt,
        definition: Definition | None,
        job: Job[Any] | None,
        text: str | None,
        error: BaseException | None,
    ) -> End:
        """Hear everybody who has a say in how an attempt ends that did not simply succeed."""
        claimed = attempt.claimed
        stored = counts_of(claimed)
        counts = without_wait(stored)
        # Only of this job's own arguments: its code may meet those of others.
        if job is None and isinstance(error, OtherVersion) and attempt.cancel_reason is None:
            if (ending := given_back(error, stored, self._version_grace)) is not None:
                self._warn_of_version(claimed, error)
                return outcome(claimed, ending, days=0, started=False)
            error = nobody_came(error, self._version_grace)
        if definition is None:
            ending = Ending(What.fail, error)
        else:
            verdict = _refusal(claimed, definition) or decide(
                error,
                cancel_reason=attempt.cancel_reason,
                timeout=definition.options.timeout,
                policies=_policies(job, error, definition),
                counts=counts,
            )
            if job is None:
                job = _unread(definition, claimed)
                job._attempt = attempt
                context.running.set(job)
            try:
                ending = await settle(job, verdict, self._layers.around(definition), counts)
            except BaseException as raised:  # cancelled meanwhile, or a hook's SystemExit
                ending = plain(decide(raised, cancel_reason=attempt.cancel_reason))
        # One that waits for others is not at fault for being interrupted, however long they take.
        if ending.what is What.release and job is not None and attempt.started and not attempt.was_waiting:
            ending = await self._interrupt(attempt, job, ending, error, counts)
        if ending.what in _GOES_ON and job is not None and job._definition.attributes and attempt.started:
            ending = await self._save_attributes(attempt, job, ending)
        if ending.counts is None and counts != stored:
            ending = ending._replace(counts=counts)
        self._teller.tell(claimed, ending)
        if claimed.refused == Refused.crashed:
            # Each crash is with the job already; why it is not run again, is not.
            why = str(ending.error) if ending.what is What.fail else ending.reason
            ending = ending._replace(error=None, reason=why)
        return outcome(
            claimed,
            ending,
            days=self._days(definition),
            started=attempt.started,
            result=text if ending.what is What.succeed and ending.error is None else None,
        )

    async def _interrupt(
        self, attempt: Attempt, job: Job[Any], ending: Ending, error: BaseException | None, counts: Mapping[str, int]
    ) -> Ending:
        claimed, stepper = attempt.claimed, job._stepper
        progressed = stepper is not None and stepper.progressed
        most = self._max_interruptions
        found = interrupted(claimed, ending, error, progressed=progressed, counts=counts, most=most)
        return found if isinstance(found, Ending) else await self._give_up(job, found)

    async def _save_attributes(self, attempt: Attempt, job: Job[Any], ending: Ending) -> Ending:
        """Save the attributes of a job without steps that goes on; those of one with steps are saved with them.

        A step that runs again would count twice what is saved in its middle.
        """
        stepper, saved = job._stepper, attempt.claimed.progress
        if stepper is not None and (stepper.progress.next_number or stepper.progress.recorded):
            return ending
        try:
            text = attributes.dump(job)
        except UnstorableResult as error:
            return await self._give_up(job, error)
        if text != saved:
            attempt.recorder.write(Write(attributes=text))
            await self._settled(attempt.recorder)
        return ending

    async def _give_up(self, job: Job[Any], error: Exception) -> Ending:
        try:
            return await settle(job, Verdict(What.fail, error), self._layers.around(job._definition), {})
        except BaseException:  # cancelled meanwhile, or a hook's SystemExit
            return Ending(What.fail, error)

    def _days(self, definition: Definition | None) -> int:
        if definition is None or definition.options.retention is None:
            return self._default_days
        return math.ceil(definition.options.retention / 86_400)


def _load(definition: Definition, claimed: Claimed) -> Job[Any]:
    """Decode a row: what is wrong with it is met inside its own task."""
    job: Job[Any] = definition.load(claimed.args)
    job._id, job._queue, job._priority = claimed.id, claimed.queue, claimed.priority
    job._sent, job._state = True, "running"
    return job


async def _resume(job: Job[Any], attempt: Attempt, progress: str) -> None:
    """Give a job what earlier attempts have recorded of it."""
    records = await attempt.recorder.load()
    attributes.restore(job, progress)
    job._resume(records)


def _policies(job: Job[Any] | None, error: BaseException | None, definition: Definition) -> Sequence[Policy]:
    if job is None or job._stepper is None:
        return definition.policies
    return (*job._stepper.policies(error), *definition.policies)


def _unread(definition: Definition, claimed: Claimed) -> Job[Any]:
    """Return a job that is not run, or cannot be read, for its handlers: its arguments are what is stored, or nothing."""
    try:
        return _load(definition, claimed)
    except Exception:
        values: Any = None
    if len(claimed.args) <= MOST_STORED:
        with contextlib.suppress(ValueError):
            values = codec.loads(claimed.args)
    job = definition.restore(values if isinstance(values, dict) else {})
    job._id, job._queue, job._priority = claimed.id, claimed.queue, claimed.priority
    job._sent, job._state = True, "running"
    return job


def _refusal(claimed: Claimed, definition: Definition) -> Verdict | None:
    """Return what becomes of a claimed job that is not to be run; None: it was."""
    match claimed.refused:
        case Refused.cancelled:
            return Verdict(What.cancel)
        case Refused.expired:
            late = JobExpired(f"it was not started within {definition.options.expires_in or 0:g} s of being due")
            return Verdict(What.discard, late, None, late)
        case Refused.crashed:
            return Verdict(
                What.fail,
                JobCrashed(
                    f"its process died {claimed.crashes} times while it ran; max_crashes is {definition.max_crashes}"
                ),
            )
    return None
