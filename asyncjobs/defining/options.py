"""The options of a job: what `@job`, a class and `Job.set` take.

A new one is a field of the table `Options`, and a key of the TypedDict of whatever takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

from asyncjobs import keywords
from asyncjobs.defining import limits
from asyncjobs.defining.option_tables import checked, option, options_in
from asyncjobs.exceptions import InvalidDefinition, InvalidOption
from asyncjobs.texts import shown

JobT = TypeVar("JobT")

Executor = Literal["loop", "thread", "process"]


class JobOptions(TypedDict, Generic[JobT], total=False):
    """What `@job` takes, for type checkers; None is the same as nothing."""

    kind: str | None
    aliases: tuple[str, ...]
    queue: str | Callable[[JobT], str] | None
    priority: int | None
    timeout: float | timedelta | None
    expires_in: float | timedelta | None
    retention: float | timedelta | None
    max_crashes: int | None
    dropped: tuple[str, ...] | None
    executor: Executor | None


class ClassOptions(JobOptions[Any], total=False):
    """What a class derived from `Job` takes, for type checkers."""

    abstract: bool


class SetOptions(TypedDict, total=False):
    """What `Job.set` takes, for type checkers; None is the same as nothing."""

    queue: str | None
    priority: int | None
    wait: float | timedelta | None
    at: datetime | None


def _queue(value: Any, name: str) -> Any:
    return value if callable(value) else limits.queue_name(value, name)


def _aliases(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise InvalidOption(f"{name}={shown(value)} is a string: give a tuple, such as ({shown(value)},)")
    if not isinstance(value, Iterable):
        raise InvalidOption(f"{name}={shown(value)} is no tuple of kinds: give such as ('app.jobs.old_name',)")
    return tuple(limits.kind_name(alias, name) for alias in value)


def _dropped(value: Any, name: str) -> tuple[str, ...]:
    given = value if isinstance(value, tuple | list | set | frozenset) else (None,)
    if not all(isinstance(each, str) and each.isidentifier() for each in given):
        raise InvalidOption(f'{name}={shown(value)} is no tuple of former arguments\' names: give such as ("lang",)')
    return tuple(given)


def _executor(value: Any, name: str) -> Any:
    if value not in ("loop", "thread", "process"):
        raise InvalidOption(f"{name}={shown(value)} is not known: use 'loop', 'thread' or 'process'")
    return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """The table; one of it holds what was said about a definition, by itself and its bases, and else the defaults."""

    kind: str | None = option(
        check=limits.kind_name,
        inherited=False,
        meaning="the stored name; change it and jobs already stored are unknown, unless it is an alias",
        default_is="`module.qualname`",
    )
    aliases: tuple[str, ...] = option(
        (), check=_aliases, inherited=False, meaning="former kinds that this code still runs"
    )
    queue: str | Callable[[Any], str] = option(
        "default",
        check=_queue,
        in_set=limits.queue_name,
        meaning="a name; in a definition also a callable of the job that returns one",
    )
    priority: int = option(
        0,
        check=limits.priority,
        in_set=limits.priority,
        meaning=f"\u2212{-limits.LEAST_PRIORITY} to {limits.GREATEST_PRIORITY}, **smaller runs first**",
    )
    timeout: float | None = option(
        check=limits.timeout,
        meaning="seconds or timedelta that one attempt may take; then it raises `TimeoutError`, which policies see",
    )
    expires_in: float | None = option(
        check=limits.timeout,
        meaning="seconds or timedelta after it is due; a job not started by then is `discarded`",
    )
    retention: float | None = option(
        check=limits.duration,
        meaning="seconds or timedelta that a finished job and its result are kept",
        default_is="the setting's, 7 days",
    )
    max_crashes: int = option(
        3,
        check=partial(limits.whole, least=1, most=1_000),
        meaning="how many deaths of its process may be charged to it, until it has `failed`",
    )
    dropped: tuple[str, ...] = option(
        (),
        check=_dropped,
        added=True,
        meaning="names of former arguments, ignored where stored jobs still have them",
    )
    executor: Executor | None = option(
        check=_executor,
        meaning='`"loop"` for `async def`, `"thread"` for `def`; `"process"` runs a `def` in a process of its own',
        default_is="follows from the code",
    )
    abstract: bool = option(
        False,
        check=limits.flag,
        of_class_only=True,
        inherited=False,
        takes_none=False,
        meaning="a base class that is no job itself",
        default_is="false",
    )
    wait: float | None = option(
        in_set=limits.duration,
        meaning="seconds or timedelta from the enqueue on, by the database's clock",
    )
    at: datetime | None = option(in_set=limits.moment, meaning="when it is due; aware; in the past: now")

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any], *, parent: Options | None = None) -> Options:
        """Return the options of a definition, checked.

        Args:
            name: Of the definition, for errors.
            given: By name.
            parent: Of the class from which it is derived; None: it is a function's.

        Raises:
            InvalidDefinition: An unknown option, or one outside its limits.
        """
        said = checked(OF_FUNCTION if parent is None else OF_CLASS, given, name, InvalidDefinition)
        if parent is None:
            return cls(**said)
        own: dict[str, Any] = {each.name: each.default for each in fields(cls) if not _OPTIONS[each.name].inherited}
        for each, value in said.items():
            own[each] = tuple(dict.fromkeys((*getattr(parent, each), *value))) if _OPTIONS[each].added else value
        return replace(parent, **own)


_OPTIONS: Final = options_in(Options)
OF_CLASS: Final = {name: each for name, each in _OPTIONS.items() if each.check}
OF_FUNCTION: Final = {name: each for name, each in OF_CLASS.items() if not each.of_class_only}
IN_SET: Final = {name: each for name, each in _OPTIONS.items() if each.in_set}

keywords.say_where(
    {name: f"the definition: @job({name}=…), or the class" for name in OF_FUNCTION.keys() - IN_SET.keys()}
)
keywords.say_where({name: f"the definition or to job.set({name}=…)" for name in OF_FUNCTION.keys() & IN_SET.keys()})
