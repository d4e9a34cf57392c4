"""Definitions of classes derived from `Job`: options and fields checked, kind registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncjobs.checks.signatures import parameters_of
from asyncjobs.definitions import registry
from asyncjobs.definitions.attributes import check_attributes
from asyncjobs.definitions.checking import (
    checked_kind,
    refuse_dropped,
    refuse_schedule,
    refuse_unknown_by,
    refuse_unknown_searchable,
)
from asyncjobs.definitions.definition import Definition, Source, check_code, run_as
from asyncjobs.definitions.fields import fields_of, names_needed, names_of_fields, refuse_hiding
from asyncjobs.definitions.hooks import check_hooks
from asyncjobs.definitions.options import Options
from asyncjobs.exceptions import InvalidDefinition
from asyncjobs.failing.declarations import check_rescues, refuse_on_methods, rescues_in
from asyncjobs.steps.step_decorator import check_steps, steps_of
from asyncjobs.values.type_variables import result_of


def make_definition(cls: type[Any], root: type[Any], given: Mapping[str, Any]) -> None:
    """Check a new class, and register it unless it is abstract or was made for a function.

    Args:
        cls: Derived from `root`.
        root: `Job` itself.
        given: The options.

    Raises:
        InvalidDefinition: The class cannot be a job's.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    options = cls._options = Options.of(name, given, parent=cls._options)
    if cls.__dict__.get("_is_function_job"):
        return  # it has nothing of its own
    for never in ("__post_init__", "model_post_init"):
        if never in vars(cls):
            raise InvalidDefinition(
                f"{name}.{never} would never be called: a job is made of its arguments alone; do in perform() what it did"
            )
    refuse_dropped(name, given.get("dropped") or (), names_of_fields(cls, root))
    refuse_on_methods(cls, name)
    check_hooks(cls, name, root)
    check_rescues(cls, name)
    cls._declared = tuple(rescues_in(cls))
    refuse_hiding(cls, name, root)
    if options.abstract:
        return
    refuse_unknown_by(name, options, names_of_fields(cls, root))
    refuse_unknown_searchable(name, options, names_of_fields(cls, root))
    refuse_schedule(name, options, names_needed(cls, root))
    perform = cls._perform_of_class()
    if perform is root._perform_of_class() and not steps_of(cls):
        raise InvalidDefinition(
            f"{name} has no perform() and no steps: write `async def perform(self)`, or methods with @step, "
            "or say abstract=True"
        )
    check_steps(cls, name)
    check_attributes(cls, name)
    source = Source.of(cls, 2)
    check_code(perform, f"{name}.perform", options.executor, source.origin)
    if len(parameters_of(perform)) != 1:
        raise InvalidDefinition(
            f"{name}.perform takes arguments: a job's fields are its arguments; annotate them in the class, "
            "and write `perform(self)`"
        )
    if (runs := run_as(perform, options.executor)) is not perform:
        cls.perform = runs
    cls._definition = Definition(
        kind=checked_kind(options.kind, cls, source.origin),
        aliases=options.aliases,
        options=options,
        source=source,
        job_class=cls,
        function=None,
        parameters=lambda: fields_of(cls, root),
        returns=lambda: result_of(cls, root, perform),
    )
    _refuse_open_variables(cls._definition)
    registry.register(cls._definition)


def _refuse_open_variables(definition: Definition) -> None:
    """Refuse a class with unbound type variables, if its annotations can be resolved yet."""
    try:
        definition.parameters()
        definition.returns()
    except InvalidDefinition:
        raise
    except Exception:  # raised again at first use, when names further down in the module exist
        return
