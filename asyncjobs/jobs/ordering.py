"""Keys that keep a job in order among others: the unique key, and the keys of limits and rates."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final, TypedDict

from asyncjobs.checks.texts import shown
from asyncjobs.definitions.limiting import MOST_TOGETHER, RateLimit
from asyncjobs.definitions.order_keys import By, name_of, rate_name_of
from asyncjobs.exceptions import InvalidOption
from asyncjobs.values import codec
from asyncjobs.values.canonical import canonical
from asyncjobs.values.previous import previous_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncjobs.definitions.definition import Definition
    from asyncjobs.definitions.limiting import Limit
    from asyncjobs.definitions.uniqueness import Unique
    from asyncjobs.jobs.job import Job


MOST_KEY: Final = 256
"""Characters of a key; a longer key is cut, and ends in its SHA-256."""


class UniqueKey(TypedDict):
    """The stored form of a unique key."""

    key: str
    until: int
    """See `uniqueness`."""
    conflict: str
    window: float | None
    """Seconds."""


class Rule(TypedDict):
    """The numbers that hold for all keys of one name."""

    name: str
    most: int | None
    """Jobs that may run at once."""
    spacing: float | None
    """Seconds between two starts."""
    burst: int | None


class LimitKey(Rule):
    """One limit of a job."""

    key: str


def unique_key_of(job: Job[Any]) -> UniqueKey | None:
    """Return the unique key of a job; None: it has none."""
    unique: Unique | None = job._option("unique")
    if unique is None:
        return None
    key = _key_of(job, name_of(job.kind, unique.by), unique.by)
    return {"key": key, "until": unique.until, "conflict": unique.on_conflict, "window": unique.window}


def limit_keys_of(job: Job[Any]) -> list[LimitKey]:
    """Return the keys of a job's limits, in the order in which they are passed, which is the same for all jobs.

    Keys of single values come before keys of whole kinds, so that a job that waits for the former holds no place of the
    latter. A job that has passed a key waits only for later ones, so that no two jobs wait for each other.
    """
    limited: tuple[Limit, ...] = job._option("concurrency")
    paced: tuple[RateLimit, ...] = job._option("rate_limit")
    found: dict[str, LimitKey] = {}
    both: list[Limit | RateLimit] = [*limited, *paced]
    for each in both:
        rule = _rule(job._definition, each)
        key = _key_of(job, rule["name"], each.by)
        found[key] = {**_both(found.get(key), rule), "key": key}
    if len(found) > MOST_TOGETHER:
        raise InvalidOption(
            f"{job.kind} has {len(found)} limits and rates: a job has at most {MOST_TOGETHER}, of concurrency= and "
            "rate_limit= together"
        )
    return sorted(found.values(), key=lambda one: (one["key"] == one["name"], one["key"]))


def rules_of(definition: Definition) -> list[Rule]:
    """Return the numbers of the limits of a kind."""
    found: dict[str, Rule] = {}
    both: list[Limit | RateLimit] = [*definition.options.concurrency, *definition.options.rate_limit]
    for each in both:
        rule = _rule(definition, each)
        found[rule["name"]] = _both(found.get(rule["name"]), rule)
    return list(found.values())


def all_rules(definitions: Iterable[Definition]) -> list[Rule]:
    """Return the numbers of the limits of kinds, by name; the smallest holds where kinds give different ones."""
    found: dict[str, Rule] = {}
    for definition in definitions:
        for rule in rules_of(definition):
            found[rule["name"]] = _both(found.get(rule["name"]), rule)
    return [found[name] for name in sorted(found)]


def name_under(definition: Definition, each: Limit | RateLimit) -> str:
    """Return the name that begins every key of a limit of a kind."""
    prefix = definition.kind.removesuffix(definition.name)
    name = name_of(definition.kind if each.key is None else prefix + each.key, each.by)
    return rate_name_of(name) if isinstance(each, RateLimit) else name


def _rule(definition: Definition, each: Limit | RateLimit) -> Rule:
    return {
        "name": name_under(definition, each),
        "most": getattr(each, "most", None),
        "spacing": getattr(each, "spacing", None),
        "burst": getattr(each, "burst", None),
    }


def _both(first: Rule | None, second: Rule) -> Rule:
    """Return the stricter numbers of two rules of one name."""
    if first is None:
        return second
    most = [each for each in (first["most"], second["most"]) if each is not None]
    slower = max((first, second), key=lambda one: one["spacing"] or 0)
    return {
        "name": second["name"],
        "most": min(most, default=None),
        "spacing": slower["spacing"],
        "burst": slower["burst"],
    }


def _key_of(job: Job[Any], name: str, by: By) -> str:
    """Return a key of a job.

    Raises:
        InvalidOption: `by` returned a value that has no form in JSON.
    """
    if not by:
        return name
    if isinstance(by, tuple):
        if unknown := set(by).intersection(previous_in(job)):
            raise InvalidOption(
                f"{job.kind}: by= names {', '.join(sorted(unknown))}, which is chain.previous and is not known before the "
                "job runs: name other arguments"
            )
        stored = codec.loads(job._stored_arguments())
        values = [canonical(stored.get(each), job._values.get(each)) for each in by]
        value = values[0] if len(values) == 1 else values
    else:
        value = by(job)
    try:
        text = f"{name} {codec.dumps(value if isinstance(by, tuple) else canonical(value, value))}"
    except (TypeError, ValueError) as error:
        raise InvalidOption(
            f"{job.kind}: by= returned {shown(value)}: return text, finite numbers, or a list of them"
        ) from error
    if len(text) <= MOST_KEY:
        return text
    return f"{text[: MOST_KEY - 65]} {hashlib.sha256(text.encode()).hexdigest()}"
