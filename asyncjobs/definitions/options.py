"""Options of a job, for `@job`, a class and `Job.set`.

A new option is a field of the table `Options`, and a key of the TypedDict of each call that takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar

from asyncjobs import schedules
from asyncjobs.checks import keywords, limits
from asyncjobs.checks.option_tables import checked, option, options_in
from asyncjobs.checks.texts import shown
from asyncjobs.definitions.labels import checked_meta, checked_tags
from asyncjobs.definitions.limiting import Limit, RateLimit, checked_limits, checked_rates
from asyncjobs.definitions.recurring_options import CatchUp, Overlap, checked_catch_up, checked_jitter, checked_overlap
from asyncjobs.definitions.uniqueness import Unique, checked_unique
from asyncjobs.exceptions import InvalidDefinition, InvalidOption

JobT = TypeVar("JobT")

Executor = Literal["loop", "thread", "process"]


class JobOptions(TypedDict, Generic[JobT], total=False):
    """The options of `@job`, for type checkers; None is the same as leaving one out."""

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
    unique: Unique | None
    concurrency: Limit | Sequence[Limit] | None
    rate_limit: RateLimit | Sequence[RateLimit] | None
    searchable: tuple[str, ...] | None
    schedule: str | None
    timezone: str | None
    catch_up: CatchUp | None
    overlap: Overlap | None
    jitter: float | timedelta | None


class ClassOptions(JobOptions[Any], total=False):
    """The options of a class derived from `Job`, for type checkers."""

    abstract: bool


class SetOptions(TypedDict, total=False):
    """The options of `Job.set`, for type checkers; None is the same as leaving one out."""

    queue: str | None
    priority: int | None
    wait: float | timedelta | None
    at: datetime | None
    unique: Unique | None
    concurrency: Limit | Sequence[Limit] | None
    rate_limit: RateLimit | Sequence[RateLimit] | None
    meta: Mapping[str, str] | None
    tags: Iterable[str] | None


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


def _searchable(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise InvalidOption(f"{name}={shown(value)} is a string: give a tuple, such as {name}=({shown(value)},)")
    given = tuple(value) if isinstance(value, tuple | list | set | frozenset) else (None,)
    if not all(isinstance(each, str) and each.isidentifier() for each in given):
        raise InvalidOption(f'{name}={shown(value)} is no tuple of arguments\' names: give such as {name}=("user_id",)')
    return tuple(dict.fromkeys(given))


def _timezone(value: Any, name: str) -> str:
    try:
        return schedules.zone_of(value).key
    except InvalidOption as error:
        raise InvalidOption(str(error).replace("timezone", name, 1)) from None


def _executor(value: Any, name: str) -> Any:
    if value not in ("loop", "thread", "process"):
        raise InvalidOption(f"{name}={shown(value)} is not known: use 'loop', 'thread' or 'process'")
    return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """The table of options; an instance holds a definition's, given or inherited, and the defaults."""

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
        meaning="deaths of its process that may be charged to it; with the last of them it has `failed`",
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
    unique: Unique | None = option(
        check=checked_unique,
        in_set=checked_unique,
        meaning="`Unique(by=…)`: of jobs with the same key, one is stored at a time",
    )
    concurrency: tuple[Limit, ...] = option(
        (),
        check=checked_limits,
        in_set=checked_limits,
        meaning="`Limit(n, by=…)`, or a list: of jobs with the same key, so many run at once over all workers",
    )
    rate_limit: tuple[RateLimit, ...] = option(
        (),
        check=checked_rates,
        in_set=checked_rates,
        meaning="`Rate(n, per=…, by=…)`, or a list: of jobs with the same key, so many start in a time over all workers",
    )
    searchable: tuple[str, ...] = option(
        (),
        check=_searchable,
        meaning='names of arguments by which its jobs are found quickly: `jobs.find(arguments={"user_id": 42})`',
    )
    schedule: str | None = option(
        check=schedules.checked_text,
        inherited=False,
        meaning='when it recurs by itself: cron as in `"0 6 * * *"`, `"@daily"`, `"every 10 minutes"`',
        default_is="it does not",
    )
    timezone: str = option("UTC", check=_timezone, meaning="in which `schedule` is read, as in `Europe/Paris`")
    catch_up: CatchUp = option(
        "latest",
        check=checked_catch_up,
        meaning='which times get a job that no worker was there for: `"none"`, the `"latest"`, `"all"`',
    )
    overlap: Overlap = option(
        "allow",
        check=checked_overlap,
        meaning='whether it recurs while the one before is not final: `"allow"`, or `"skip"`',
    )
    jitter: float = option(
        0.0,
        check=checked_jitter,
        meaning="seconds or timedelta by which it is later, at most; always the same for one time of one schedule",
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
    meta: Mapping[str, str] | None = option(
        in_set=checked_meta,
        meaning="a dict of strings to look the job up by: at most 20; a later `set(meta=…)` replaces all of them",
    )
    tags: tuple[str, ...] | None = option(
        in_set=checked_tags,
        meaning='strings to look the job up by, such as `("import",)`: at most 20; a later `set(tags=…)` replaces all',
    )

    @property
    def ordered(self) -> tuple[tuple[str, Unique | Limit | RateLimit], ...]:
        """The unique key, limits and rates, each with the option's name."""
        return (
            *((("unique", self.unique),) if self.unique is not None else ()),
            *(("concurrency", each) for each in self.concurrency),
            *(("rate_limit", each) for each in self.rate_limit),
        )

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any], *, parent: Options | None = None) -> Options:
        """Return the checked options of a definition.

        Args:
            name: The definition's, for errors.
            given: Options by name.
            parent: Options of the base class; None: the definition is a function's.

        Raises:
            InvalidDefinition: An unknown option, or a value outside its limits.
        """
        said = checked(OF_FUNCTION if parent is None else OF_CLASS, given, name, InvalidDefinition)
        if parent is None:
            # Only for a function: a class may set them for classes derived from it.
            idle = [each for each in _OF_SCHEDULE if each in said and "schedule" not in said]
            if idle:
                raise InvalidDefinition(
                    f"{name}: {', '.join(f'{each}=' for each in idle)} without schedule= has no effect: "
                    'give schedule="0 6 * * *", or say this where its schedule is declared'
                )
            return cls(**said)
        own: dict[str, Any] = {each.name: each.default for each in fields(cls) if not _OPTIONS[each.name].inherited}
        for each, value in said.items():
            own[each] = tuple(dict.fromkeys((*getattr(parent, each), *value))) if _OPTIONS[each].added else value
        return replace(parent, **own)


_OPTIONS: Final = options_in(Options)
_OF_SCHEDULE: Final = ("timezone", "catch_up", "overlap", "jitter")
OF_CLASS: Final = {name: each for name, each in _OPTIONS.items() if each.check}
OF_FUNCTION: Final = {name: each for name, each in OF_CLASS.items() if not each.of_class_only}
IN_SET: Final = {name: each for name, each in _OPTIONS.items() if each.in_set}

keywords.say_where(
    {name: f"the definition: @job({name}=…), or the class" for name in OF_FUNCTION.keys() - IN_SET.keys()}
)
keywords.say_where({name: f"the definition or to job.set({name}=…)" for name in OF_FUNCTION.keys() & IN_SET.keys()})
