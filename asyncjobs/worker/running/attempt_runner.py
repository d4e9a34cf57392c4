"""The attempt runner: it runs one attempt, here or in a process of its own, and returns the end to write."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal
from uuid import UUID

import anyio

from asyncjobs.checks.foreign_texts import log
from asyncjobs.db.rows import Finish, Reschedule, State
from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.exceptions import InvalidDefinition, JobCrashed
from asyncjobs.failing.deciding import What
from asyncjobs.failing.stored_errors import describe_error
from asyncjobs.jobs.ordering import limit_keys_of
from asyncjobs.performing import tracing
from asyncjobs.performing.attempt import Attempt, CancelReason
from asyncjobs.performing.lifecycle import Lifecycle
from asyncjobs.performing.outcomes import SUCCEEDED, Outcome
from asyncjobs.performing.versions import VERSION_GRACE
from asyncjobs.records.claimed import Claimed, Refused
from asyncjobs.values import codec
from asyncjobs.worker.job_log import JobLog
from asyncjobs.worker.job_processes.attempt_process import ChildDied
from asyncjobs.worker.job_processes.forking_process import CannotFork
from asyncjobs.worker.job_processes.job_processes import JobProcesses
from asyncjobs.worker.job_processes.sent_outcomes import End
from asyncjobs.worker.job_processes.suspect_groups import Group
from asyncjobs.worker.writing.live_writer import LiveWriter
from asyncjobs.worker.writing.rows import pauses_of, row_of
from asyncjobs.worker.writing.step_recorder import StepWriter

logger = logging.getLogger("asyncjobs.worker")

_SUCCEEDED = State.succeeded
_FINISH: Callable[[tuple[Any, ...]], Finish] = partial(tuple.__new__, Finish)
"""Makes all fields a `Finish`. Both save a worker of no-ops 0.5 µs a job."""
AGAIN = 1.0
"""Seconds until a job is claimed again that no process could be made for."""


class AttemptRunner:
    """Runs attempts, each in the task that calls it.

    Args:
        retention: Seconds that a finished job is kept if its definition does not say.
        middleware: Runs around every job, the outermost first.
        writer: Writes the records of steps.
        live: Writes what jobs show.
        cancel: Cancels an attempt whose timeout is over, and watches that it ends; None: `Attempt.cancel`.
        cleanup_timeout: Seconds between the cancellation of an attempt in a process of its own and the process's end.
        max_interruptions: Interruptions in a row, without progress, that a job may have.
        version_grace: Seconds for which a job is given back whose arguments may be another version's.
        log_jobs: Which ends are logged: `ends`, all; `failures`, not those of jobs that succeed; `none`.
        job_processes: Runs attempts in processes of their own; None: this is such a process.
        is_ending: Returns whether the worker is being cancelled, as by a loop that ends.
    """

    def __init__(
        self,
        *,
        retention: float,
        middleware: Sequence[Any],
        writer: StepWriter,
        live: LiveWriter,
        cancel: Callable[[Attempt, CancelReason], object] | None = None,
        cleanup_timeout: float = 5.0,
        max_interruptions: int = 10,
        version_grace: float = VERSION_GRACE,
        log_jobs: Literal["ends", "failures", "none"] = "failures",
        job_processes: JobProcesses | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._lifecycle = Lifecycle(
            middleware=middleware,
            recorders=writer,
            shows=live,
            cancel=cancel,
            max_interruptions=max_interruptions,
            version_grace=version_grace,
            is_ending=is_ending,
            # Slots bound the threads. A `def` job that awaits another gives back its slot and keeps its thread: with as
            # many threads as slots, parents would keep their children from starting.
            threads=anyio.CapacityLimiter(math.inf),
        )
        self._writer = writer
        self._cleanup_timeout = cleanup_timeout
        self._job_processes = job_processes
        self._default_days = math.ceil(retention / 86_400)
        self._log = None if log_jobs == "none" else JobLog(successes=log_jobs == "ends")

    def close(self) -> None:
        """Log what was only counted."""
        if self._log is not None:
            self._log.tell_of_left_out()

    @property
    def in_threads(self) -> set[UUID]:
        """Jobs whose threads still run; a thread outlives its task when the loop is closed."""
        return self._lifecycle.in_threads

    async def run(self, attempt: Attempt, group: Group | None = None) -> End:
        """Run an attempt and return the end to write. Nothing that a job raises gets out.

        Args:
            attempt: The attempt, not started yet.
            group: The group of a suspect that runs apart; None for other jobs.
        """
        claimed = attempt.claimed
        definition = registry.find(claimed.kind)
        begun = time.monotonic()
        try:
            if definition is None:
                gone = LookupError(f"kind {claimed.kind!r} was claimed and is not defined here any more")
                outcome = Outcome(What.fail, gone)
            elif attempt.cancel_reason is not None or claimed.refused:
                outcome = await self._lifecycle.conclude(attempt, definition, asyncio.CancelledError())
            elif definition.is_limited and not claimed.limited and (limits := _limits_of(claimed, definition)):
                return Reschedule(claimed.id, claimed.fence, limits=limits)
            elif self._job_processes is not None and (group is not None or definition.options.executor == "process"):
                apart = self._run_apart(self._job_processes, attempt, definition, group, begun)
                return await (
                    apart if tracing.active is None else tracing.active.processing(apart, attempt, is_apart=True)
                )
            else:
                outcome = await self._lifecycle.run(attempt, definition)
                if outcome is SUCCEEDED:
                    if self._log is not None:
                        self._log.succeeded(claimed, begun)
                    days = self._default_days if definition.options.retention is None else self._days(definition)
                    return _FINISH(
                        (claimed.id, claimed.fence, _SUCCEEDED, None, None, None, days, claimed.batch, None, ())
                    )
            return self._end(attempt, definition, outcome, begun)
        except BaseException as broken:
            # Such as an exception whose class lies. Without an end, the job would be `running` for as long as this worker
            # lives.
            described = describe_error(broken, attempt=claimed.attempt, begun=begun)
            days = self._days(definition)
            return Finish(claimed.id, claimed.fence, State.failed, None, described, None, days, claimed.batch)

    def _end(self, attempt: Attempt, definition: Definition | None, outcome: Outcome, begun: float) -> End:
        """Log an outcome, and return the end to write for it."""
        claimed = attempt.claimed
        if self._log is not None:
            self._log.tell(claimed, outcome, begun)
        if claimed.refused == Refused.crashed:
            # Each crash is among the job's errors already; the reason why it does not run again is not.
            why = str(outcome.error) if outcome.what is What.fail else outcome.reason
            outcome = outcome._replace(error=None, reason=why)
        end = row_of(outcome, claimed, days=self._days(definition), started=attempt.started, begun=begun)
        if end is not None and definition is not None and outcome.cause is not None:
            return end._replace(pauses=pauses_of(claimed, definition, outcome.cause))
        return end

    def _days(self, definition: Definition | None) -> int:
        if definition is None or definition.options.retention is None:
            return self._default_days
        return math.ceil(definition.options.retention / 86_400)

    # In a process of its own

    async def _run_apart(
        self,
        job_processes: JobProcesses,
        attempt: Attempt,
        definition: Definition,
        group: Group | None,
        begun: float,
    ) -> End:
        """Run an attempt in a process of its own; its timeout is kept from here, since it may block its own loop."""
        claimed = attempt.claimed
        try:
            await job_processes.forking.ready()  # before the job's timeout begins: imports may take long
            if claimed.kind not in job_processes.forking.kinds:
                if definition.options.executor != "process":
                    # A suspect: claimed again, it runs in this process as the only suspect, and a crash is charged to it.
                    return Reschedule(claimed.id, claimed.fence)
                raise InvalidDefinition(
                    f"{definition.source} is not defined where its module is imported for jobs in processes of their own: "
                    "define it at the module's top level, under no condition"
                )
            attempt.cancel_by = self._lifecycle.cancel
            self._lifecycle.start(attempt, definition)
            grace = 0.0 if definition.options.executor == "process" else self._cleanup_timeout
            try:
                return await job_processes.run(attempt, group, grace=grace)
            finally:
                attempt.stop_timer()
        except ChildDied as died:
            return await self._crash(attempt, died, begun)
        except CannotFork as raised:
            if job_processes.forking.available:
                log(logger, logging.WARNING, "%s %s was not begun: %s", claimed.kind, claimed.id, raised)
                return Reschedule(claimed.id, claimed.fence, AGAIN)
            if group is not None:
                # It did not ask for a process of its own: it waits for the one place for suspects in this one.
                log(logger, logging.WARNING, "%s; suspects run one at a time among the ordinary jobs", raised)
                return Reschedule(claimed.id, claimed.fence)
            error: BaseException = raised
        except BaseException as raised:
            error = raised
        return self._end(attempt, definition, await self._lifecycle.conclude(attempt, definition, error), begun)

    async def _crash(self, attempt: Attempt, died: ChildDied, begun: float) -> Reschedule:
        claimed = attempt.claimed
        evidence = f"{died}{await self._writer.last_step(claimed.id)}"
        crash = describe_error(JobCrashed(evidence), attempt=claimed.attempt, begun=begun)
        about = {"job_id": str(claimed.id), "job_kind": claimed.kind, "job_attempt": claimed.attempt}
        log(logger, logging.ERROR, "%s %s: %s", claimed.kind, claimed.id, died, extra=about)
        alone = died.together == 1
        together = None if alone else died.together // 2
        return Reschedule(claimed.id, claimed.fence, error=crash, spent=True, crashed=alone, together=together)


def _limits_of(claimed: Claimed, definition: Definition) -> str | None:
    """Return the limits of a job that was enqueued without them, by SQL or by older code; None: it has none.

    It is given back to wait at them, and no attempt is spent. Errors of its arguments are raised when it runs.
    """
    try:
        return codec.dumps(limit_keys_of(definition.load(claimed.args)))
    except Exception:
        return None
