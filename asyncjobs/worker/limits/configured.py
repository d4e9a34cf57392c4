"""Limits of the configuration, compared with the kinds that are defined here."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from asyncjobs.definitions import registry
from asyncjobs.definitions.order_keys import rate_name_of
from asyncjobs.jobs.ordering import Rule, rules_of
from asyncjobs.settings import Settings
from asyncjobs.settings.loading import place_of


def stored_name(name: str) -> str:
    """Return the stored name of a limit that the configuration names with or without the prefix."""
    return registry.with_prefix(name).replace(" ", "\u00a0")


def unlimited(settings: Settings, config: Path | None = None) -> list[str]:
    """Return a sentence for each limit of the configuration that no kind defined here is under."""
    rules = [rule for each in registry.all_definitions() for rule in rules_of(each)]
    found = []
    for name in settings.limits:
        stored = stored_name(name)
        if any(_is_under(rule, stored) for rule in rules):
            continue
        known = {rule["name"].partition("(")[0] for rule in rules if rule["most"] is not None}
        near = get_close_matches(stored, known, n=1)
        if any(_is_under(rule, rate_name_of(stored)) for rule in rules):
            remedy = "it is a rate, which does not bound how many jobs run at once; declare concurrency=Limit(…)"
        elif near:
            remedy = f"did you mean {near[0].removeprefix(registry.prefix())!r}?"
        else:
            remedy = "is its module in imports?"
        place = place_of(settings, ("limits", name), config=config)
        found.append(f"{place}: no job defined here is under a limit {name!r}: {remedy}")
    return found


def _is_under(rule: Rule, name: str) -> bool:
    return rule["name"] == name or rule["name"].startswith(f"{name}(")
