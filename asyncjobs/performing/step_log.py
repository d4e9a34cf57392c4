"""The log of one attempt's steps: the records, the place of the code among them, and new records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from asyncjobs.definitions import attributes
from asyncjobs.exceptions import InvalidStep
from asyncjobs.failing.control_exceptions import Interrupted
from asyncjobs.performing import running_job
from asyncjobs.performing.job_value import JobValue
from asyncjobs.records.step_records import Record, Recorder, StepForm, StepProgress, StepState
from asyncjobs.steps.cursors import Cursor
from asyncjobs.steps.step_run import StepRun

if TYPE_CHECKING:
    from asyncjobs.performing.attempt import Attempt

inside: ContextVar[str | None] = ContextVar("asyncjobs_step", default=None)
"""The step whose code is running: tells a step inside another from one beside it."""

_FORMS: dict[StepForm, str] = {"code": "code", "jobs": "a run of other jobs", "wait": "a wait", "sleep": "a sleep"}


class StepLog:
    """The steps of one attempt, as recorded, and as the code has met them.

    Args:
        records: The records of earlier attempts.

    Attributes:
        progress: The records, and which of them the code has met.
        resumed: Whether an earlier attempt has recorded something.
        progressed: Whether this attempt has.
        current: The running step; None: none is running.
        cursor: The running step's; None: it has none, or no step is running.
    """

    def __init__(self, job: JobValue, attempt: Attempt, recorder: Recorder, records: Sequence[Record]) -> None:
        self.job = job
        self.kind = job.kind
        self.attempt = attempt
        self.recorder = recorder
        self.progress = StepProgress(job.kind, records)
        self.resumed = bool(records)
        self.progressed = False
        self.current: str | None = None
        self.cursor: Cursor[Any] | None = None
        # Attributes are saved with every first record, and the loaded job has them, so they need not be written again.
        self._saved = self.attributes() if records else None

    def meet(
        self, name: str, form: StepForm, *, formerly: Sequence[str] = (), code: Sequence[str] = ()
    ) -> Record | None:
        """Return the record of a step that the code has come to; None: there is none.

        Args:
            form: The form of the step in the running code.
            formerly: Earlier names of the step.
            code: The names of all steps, for messages.

        Raises:
            InvalidStep: The step is out of place, or was recorded in another form.
        """
        if self.current is not None:
            how = "inside" if inside.get() == self.current else "while another task of the job is in"
            self._refuse_overlap(name, how, self.current)
        record = self.progress.meet(name, formerly=formerly, code=code)
        if record is not None and record.form != form:
            raise InvalidStep(
                f"{self.kind}: step {name!r} was recorded as {_FORMS[record.form]} ({record.state}), and is "
                f"{_FORMS[form]} now: give the new code a kind of its own while jobs are in flight, or run this job again "
                "from a step: asyncjobs jobs retry ID --from STEP"
            )
        return record

    def _refuse_overlap(self, name: str, how: str, current: str) -> NoReturn:
        raise InvalidStep(
            f"{self.kind}: step {name!r} is begun {how} step {current!r}: steps follow each other, and sleep, wait_for and "
            "run are steps themselves: call them from perform, between `await self.step(…)`; for things at once use "
            "cursor.map() or a TaskGroup inside one step"
        )

    @property
    def step_here(self) -> str | None:
        """The step whose code is running, in a task or a thread of it; None: other code is running."""
        # A thread that a step starts inherits neither context variable, so it counts as the step's.
        is_other = inside.get() is None and running_job.running.get() is self.job
        return None if is_other else self.current

    # Checkpoints

    @property
    def snapshot(self) -> Callable[[], str | None] | None:
        """Returns the job's attributes as JSON; None: it has no attributes."""
        return partial(attributes.dump, self.job) if self.job._definition.attributes else None

    def attributes(self) -> str:
        """Return the job's attributes as JSON."""
        return attributes.dump(self.job) or "{}"

    def check(self) -> None:
        """End the run if its worker stops; it goes on elsewhere from its records.

        Raises:
            Interrupted: The worker stops.
        """
        if self.attempt.stopping:
            raise self.attempt.end_by(Interrupted(f"{self.kind} was interrupted at a checkpoint"))

    def check_going_on(self) -> None:
        """Refuse to go on or to record anything after the run was told to end.

        Raises:
            BaseException: The error that ended the run.
        """
        if self.attempt.is_over:
            raise self.attempt.end_of(None) or asyncio.CancelledError

    def record(
        self, run: StepRun, state: StepState, attributes: str, *, result: str | None = None, cursor: str | None = None,
        error: str | None = None, children: str | None = None,
    ) -> Awaitable[None]:  # fmt: skip
        """Record a step and the attributes; done when they are durable."""
        changed = None if attributes == self._saved else attributes
        self.saved(attributes)
        return self.recorder.write(run.write(state, changed, result, cursor, error, children=children))

    def saved(self, attributes: str | None) -> None:
        """Note that something is recorded, with these attributes."""
        self._saved, self.progressed = attributes, True
