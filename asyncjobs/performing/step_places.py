"""The places where a running step records: its cursor, and the jobs that it runs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from asyncjobs.checks.texts import cut, shown
from asyncjobs.exceptions import InvalidStep
from asyncjobs.performing.step_log import StepLog
from asyncjobs.steps.step_code import Values
from asyncjobs.steps.step_run import StepRun


class ChildrenPlace:
    """The record of the jobs that a step runs."""

    def __init__(self, log: StepLog, run: StepRun) -> None:
        self._log = log
        self._run = run
        self.job = log.job
        self.attempt = log.attempt
        self.recorded = None if run.found is None else run.found.children
        self.is_last = run.found is None or log.progress.recorded[-1] is run.found
        self.children = ""

    def record_children(self, children: str) -> Awaitable[None]:
        """Record the jobs that the step runs."""
        self.children = children
        return self._log.record(self._run, "running", self._log.attributes(), children=children)


class CursorPlace:
    """The record of the cursor of a running step."""

    def __init__(self, log: StepLog, run: StepRun, values: Values) -> None:
        self._log = log
        self._run = run
        self.values = values
        self.attempt = log.attempt
        self.check = log.check
        self.refuse = log.attempt.end_by
        self.snapshot = log.snapshot
        self.is_exact, self.kept = values.is_exact, values.kept

    def read(self, text: str | None) -> Any:
        """Return the recorded position of the cursor.

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
        """Record the position of the cursor."""
        return self._log.record(self._run, "started", attributes or "{}", cursor=self.values.dump(value))
