"""Making a class derived from `Job` a definition: its options and fields checked, its name registered."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from asyncjobs.defining import registry
from asyncjobs.defining.attributes import check_attributes
from asyncjobs.defining.checking import checked_aliases, checked_kind, checked_options, refuse_dropped
from asyncjobs.defining.declaring import check_rescues, refuse_on_methods, rescues_in
from asyncjobs.defining.definition import Definition, Source, check_code, run_as
from asyncjobs.defining.fields import fields_of, names_of_fields, refuse_hiding
from asyncjobs.defining.hooks import check_hooks
from asyncjobs.defining.steps import check_steps, steps_of
from asyncjobs.defining.type_variables import result_of
from asyncjobs.exceptions import InvalidDefinition

if TYPE_CHECKING:
    from asyncjobs.defining.base import Job


def make_definition(
    cls: type[Job[Any]], root: type[Job[Any]], *, abstract: bool, kind: str | None, aliases: Any, given: dict[str, Any]
) -> None:
    """Check a class that has just been made, and register it unless it is abstract or stands for a function.

    Args:
        cls: Derived from `root`.
        root: `Job` itself.
        abstract: It is a base class and no job.
        kind: Its stored name; None: its importable name.
        aliases: Former kinds.
        given: Its other options.

    Raises:
        InvalidDefinition: It cannot be a job's class.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    own = checked_options(name, **given)
    refuse_dropped(name, own.dropped or (), names_of_fields(cls, root))
    cls._options = own.over(cls._options)
    refuse_on_methods(cls, name)
    check_hooks(cls, name)
    check_rescues(cls, name)
    cls._declared = tuple(rescues_in(cls))
    refuse_hiding(cls, name, root)
    if abstract or cls.__dict__.get("_is_function_job"):
        return
    perform = cls._perform_of_class()
    if perform is root._perform_of_class() and not steps_of(cls):
        raise InvalidDefinition(
            f"{name} has no perform() and no steps: write `async def perform(self)`, or methods with @step, "
            "or say abstract=True"
        )
    check_steps(cls, name)
    check_attributes(cls, name)
    source = Source.of(cls, 2)
    check_code(perform, f"{name}.perform", cls._options.executor, source.origin)
    if len(inspect.signature(perform).parameters) != 1:
        raise InvalidDefinition(
            f"{name}.perform takes arguments: a job's fields are its arguments; annotate them in the class, "
            "and write `perform(self)`"
        )
    if (runs := run_as(perform, cls._options.executor)) is not perform:
        cls.perform = runs  # type: ignore[attr-defined]  # hidden from type checkers in `Job`
    cls._definition = Definition(
        kind=checked_kind(kind, cls, source.origin),
        aliases=checked_aliases(name, aliases),
        options=cls._options,
        source=source,
        job_class=cls,
        function=None,
        parameters=lambda: fields_of(cls, root),
        returns=lambda: result_of(cls, root, perform),
    )
    _refuse_open_variables(cls._definition)
    registry.register(cls._definition)


def _refuse_open_variables(definition: Definition) -> None:
    """Refuse a class with type variables that stand for nothing, as far as its annotations can be resolved by now."""
    try:
        definition.parameters()
        definition.returns()
    except InvalidDefinition:
        raise
    except Exception:  # said at the first use, when names exist that stand further down in the module
        return
