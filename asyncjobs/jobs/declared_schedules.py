"""Declared schedules: what code and configuration say, compared with what is stored.

Several versions of the code are at work during a deploy, and workers of one version may have other modules than the rest. So
a worker changes only schedules that it declares, that its own source has ceased to declare, and of kinds that it knows.
Of two versions the newer wins, the one that was first seen later, as long as a worker has it. When no worker has it any
more, the older one was deployed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from asyncjobs.definitions import registry
from asyncjobs.exceptions import AsyncJobsError, InvalidSettings
from asyncjobs.jobs.recurring import Recurrence, recurrence_of
from asyncjobs.modules.importing import import_problem
from asyncjobs.settings.loading import place_of
from asyncjobs.values import codec

if TYPE_CHECKING:
    from asyncjobs.definitions.definition import Definition
    from asyncjobs.jobs.job import Job
    from asyncjobs.settings import Recurring, Settings

Declared = Literal["config", "code"]


class Problem(NamedTuple):
    """A declaration that cannot be used."""

    path: tuple[str, ...]
    """Of the setting; empty: it is declared in code."""
    text: str


class Version(NamedTuple):
    """A version of the code that has declared schedules."""

    said_at: datetime
    """When it was first seen, or deployed again."""
    is_live: bool
    """Whether another worker has it."""


class What(NamedTuple):
    """A stored schedule."""

    name: str
    seen_until: datetime
    enabled: bool
    paused_at: datetime | None
    removed_at: datetime | None
    schedule: str
    timezone: str
    declared: str | None
    scope: str
    digest: str
    version: str | None
    kind: str
    is_known: bool
    """Whether another worker knows its kind, for a schedule declared in code."""

    @property
    def times(self) -> tuple[str, str]:
        """Its schedule and time zone."""
        return self.schedule, self.timezone


@dataclass(frozen=True)
class Declaration:
    """Everything that one worker declares.

    Attributes:
        scope: The prefix of its kinds; schedules of other prefixes belong to other applications.
        has_config: Whether it has read a configuration: a stored schedule that is missing there was then removed.
        said: By name, with the source of each.
        kinds: The kinds that the worker knows.
    """

    scope: str
    has_config: bool
    said: Mapping[str, tuple[Recurrence, Declared]]
    kinds: frozenset[str]

    @cached_property
    def version(self) -> str:
        """A digest of 32 characters that differs from that of any other version."""
        schedules = sorted((name, each.digest, where) for name, (each, where) in self.said.items())
        told = [self.scope, self.has_config, schedules, sorted(self.kinds)]
        return hashlib.sha256(codec.dumps(told).encode()).hexdigest()[:32]

    def has_ended(self, what: What) -> bool:
        """Whether this code once declared a stored schedule, or a version like it did, and declares it no more."""
        if what.name in self.said or what.scope != self.scope:
            return False
        if what.declared == "config":
            return self.has_config
        return what.declared == "code" and (what.kind in self.kinds or not what.is_known)


class Change(NamedTuple):
    """A change of one schedule."""

    name: str
    before: What | None
    """None, or one that is removed: the schedule is new."""
    to: Recurrence | None
    """None: the schedule is removed."""
    declared: Declared | None = None

    def __str__(self) -> str:
        if self.to is None:
            return f"{self.name} is removed: it is not declared any more"
        says = f"{self.to.schedule!r} in {self.to.timezone}" + ("" if self.to.enabled else ", not enabled")
        if self.before is None or self.before.removed_at is not None:
            return f"{self.name} is added: {self.to.kind}, {says}"
        then = f"{self.before.schedule!r} in {self.before.timezone}"
        return f"{self.name} is changed: {self.to.kind}, {says}" + (
            "" if says.startswith(then) else f", and was {then}"
        )


class Kept(NamedTuple):
    """A schedule that is left as it is stored although this code declares it otherwise."""

    name: str
    by_hand: bool
    """Whether it was added at run time; else newer code declares it so."""

    def __str__(self) -> str:
        if self.by_hand:
            return (
                f"{self.name} was added at run time, and is kept as it is although it is declared, too: remove it by "
                f"`jobs.recurring.remove({self.name!r})`, or declare it under another name"
            )
        return f"{self.name} is declared otherwise here, and is kept as a worker with newer code declares it"


class Decided(NamedTuple):
    """The decisions about all stored schedules."""

    changes: list[Change]
    affirmed: list[str]
    """Names of schedules that are right as stored, and may have been declared by older code."""
    kept: list[Kept]
    is_newest: bool
    """Whether this version counts as the newest from now on."""


def decide(declaration: Declaration, rows: Sequence[What], versions: Mapping[str, Version]) -> Decided:
    """Decide what to change in the stored schedules."""
    mine = versions.get(declaration.version)
    stored = {what.name: what for what in rows}
    decided = Decided([], [], [], is_newest=False)
    for name, (said, where) in declaration.said.items():
        if (what := stored.get(name)) is None:
            decided.changes.append(Change(name, None, said, where))
            continue
        if what.declared is None and what.removed_at is None:
            decided.kept.append(Kept(name, by_hand=True))
            continue
        is_so = what.removed_at is None and (what.digest, what.declared) == (said.digest, where)
        decided = _judged(decided, Change(name, what, said, where), what, mine, versions, is_so=is_so)
    for what in rows:
        if declaration.has_ended(what):
            change = Change(what.name, what, None)
            decided = _judged(decided, change, what, mine, versions, is_so=what.removed_at is not None)
    return decided


def _judged(
    decided: Decided, change: Change, what: What, mine: Version | None, versions: Mapping[str, Version], *, is_so: bool
) -> Decided:
    """Add a change to the decisions, or drop it because newer code has decided already."""
    theirs = versions.get(what.version or "")
    is_older = mine is not None and theirs is not None and mine.said_at < theirs.said_at
    if is_so:
        if not is_older:
            decided.affirmed.append(what.name)
        return decided
    if is_older and theirs is not None and theirs.is_live:
        decided.kept.append(Kept(what.name, by_hand=False))
        return decided
    decided.changes.append(change)
    return decided._replace(is_newest=decided.is_newest or is_older)


def declared(settings: Settings) -> Declaration:
    """Return what the settings and the definitions of this process declare.

    Raises:
        InvalidSettings: Declarations cannot be used; all problems at once, each with the line to change.
    """
    declaration, problems = declare(settings)
    if problems:
        raise InvalidSettings([said_of(settings, problem) for problem in problems])
    return declaration


def said_of(settings: Settings, problem: Problem, config: Path | str | None = None) -> str:
    """Return a problem with the line to change; `config` is the named file, if not that of the settings."""
    return f"{place_of(settings, problem.path, config=config)}: {problem.text}" if problem.path else problem.text


def declare(settings: Settings) -> tuple[Declaration, list[Problem]]:
    """Return what the settings and the definitions of this process declare, and the problems.

    The module of a job that the settings name is imported where it is not yet.
    """
    said: dict[str, tuple[Recurrence, Declared]] = {}
    problems: list[Problem] = []
    for short, wanted in settings.recurring.items():
        name = registry.with_prefix(short)
        try:
            said[name] = _of_settings(name, wanted), "config"
        except InvalidSettings as error:
            problems += [Problem(("recurring", short, "job"), problem) for problem in error.problems]
        except AsyncJobsError as error:
            problems.append(Problem(("recurring", short), str(error)))
    for definition in registry.all_definitions():
        if definition.options.schedule is None:
            continue
        try:
            if definition.kind in said:
                raise InvalidSettings([f"{definition.kind} has a schedule of its own, and the settings have it, too"])
            said[definition.kind] = _of_definition(definition), "code"
        except AsyncJobsError as error:
            problems.append(Problem((), f"{definition.source.file}:{definition.source.line}: {error}"))
    declaration = Declaration(
        scope=registry.prefix(),
        has_config=settings.has_config,
        said=said,
        kinds=frozenset(registry.all_names()),
    )
    return declaration, problems


def _of_settings(name: str, wanted: Recurring) -> Recurrence:
    definition = _definition_of(wanted.job)
    args, kwargs = (wanted.args, {}) if isinstance(wanted.args, list) else ([], wanted.args)
    job = _made(definition, tuple(args), dict(kwargs))
    job.set(queue=wanted.queue, priority=wanted.priority)
    return recurrence_of(
        name,
        job,
        schedule=wanted.schedule,
        timezone=wanted.timezone,
        catch_up=wanted.catch_up,
        overlap=wanted.overlap,
        jitter=wanted.jitter,
        enabled=wanted.enabled,
    )


def _definition_of(kind: str) -> Definition:
    """Return the definition of a kind.

    Raises:
        InvalidSettings: No job of this kind is known.
    """
    module = kind.rpartition(".")[0]
    problem = import_problem(module) if registry.find(kind) is None and module.replace(".", "").isidentifier() else None
    if (found := registry.find(kind)) is not None:
        return found
    why = f" ({problem.removeprefix('imports: ')})" if problem else ""
    remedy = registry.similar(kind) or "; give the kind of a job, and name its module in imports"
    raise InvalidSettings([f"no job of kind {kind!r} is known{why}{remedy}"])


def _of_definition(definition: Definition) -> Recurrence:
    options = definition.options
    return recurrence_of(
        definition.kind,
        _made(definition, (), {}),
        schedule=options.schedule,
        timezone=options.timezone,
        catch_up=options.catch_up,
        overlap=options.overlap,
        jitter=options.jitter,
    )


def _made(definition: Definition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job[Any]:
    values, text = definition.arguments.make(args, kwargs)
    job: Job[Any] = definition.job_class.__new__(definition.job_class)
    job._begin(definition, values, text)
    job._made_at = None
    return job
