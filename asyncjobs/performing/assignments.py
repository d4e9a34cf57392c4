"""What a step assigns to its job and nothing saves: said at that line, as the job is without it where it goes on."""

from __future__ import annotations

import warnings
from typing import Any

from asyncjobs.exceptions import AssignmentNotSaved
from asyncjobs.performing.job_value import JobValue

_set = object.__setattr__


def watch(cls: type[JobValue]) -> None:
    """Look at what the steps of a class's jobs assign, from its first job on that has some.

    `Job` itself has no `__setattr__`: with one, each of the ten assignments that making and running a job takes costs 0.3 µs
    more. A class that has one of its own says itself what becomes of its values.
    """
    if cls.__setattr__ is _set:
        cls.__setattr__ = _assign  # type: ignore[assignment,method-assign]


def _assign(job: JobValue, name: str, value: Any) -> None:
    if name[:1] != "_" and (stepper := job._stepper) is not None and (step := stepper.log.step_here) is not None:
        # An attribute and a property have a setter, which takes the value where it is to go.
        declared = getattr(type(job), name, None)
        if not hasattr(declared, "__set__"):
            text = f"{job.kind}: step {step!r} {_said(job, name, value)}"
            warnings.warn(text, AssignmentNotSaved, stacklevel=2)
    _set(job, name, value)


def _said(job: JobValue, name: str, value: Any) -> str:
    lost = "which nothing saves: a job that goes on elsewhere does not run the step again, and is without it"
    if job._definition.function is not None:
        return f"assigns {name!r} to its job, {lost}; return it from the step, which stores what it returns"
    annotation = "Any" if value is None else type(value).__name__
    if name in job._values:
        return (
            f"assigns self.{name}, an argument, which stays as it was enqueued: a job that goes on elsewhere does not run "
            "the step again, and is given the stored value; assign to an attribute, "
            f"`new_{name}: {annotation} = attribute(default=…)`"
        )
    return (
        f"assigns self.{name}, {lost}; declare it in the class, `{name}: {annotation} = attribute(default=…)`, or call it "
        f"_{name} if that step alone needs it"
    )
