"""Warnings about values that a step assigns to its job and nothing saves, given at the line that assigns."""

from __future__ import annotations

import warnings
from typing import Any

from asyncjobs.exceptions import AssignmentNotSaved
from asyncjobs.performing.job_value import JobValue

_set = object.__setattr__


def watch(cls: type[JobValue]) -> None:
    """Have assignments in the steps of a class's jobs checked, from its first job with steps on.

    `Job` itself has no `__setattr__`: with one, each of the ten assignments that making and running a job takes costs 0.3 µs
    more. A class with a `__setattr__` of its own is left alone.
    """
    if cls.__setattr__ is _set:
        cls.__setattr__ = _assign  # type: ignore[assignment,method-assign]


def _assign(job: JobValue, name: str, value: Any) -> None:
    if name[:1] != "_" and (stepper := job._stepper) is not None and (step := stepper.log.step_here) is not None:
        # An attribute or a property has a setter, which keeps the value.
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
