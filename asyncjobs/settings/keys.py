"""Names of settings, and suggestions for unknown ones."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from asyncjobs.checks import keywords
from asyncjobs.settings.models import Dispatcher, Pool, QueueLimits, Recurring, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncjobs.settings.lines import KeyPath

FOUND_OUT = ("environment", "source")
"""Fields of `Settings` that `load` fills in; users do not set them."""

KEYS = tuple(key for key in Settings.model_fields if key not in FOUND_OUT)

_TABLES = {
    "": KEYS,
    "dispatcher": tuple(Dispatcher.model_fields),
    "pools": tuple(Pool.model_fields),
    "recurring": tuple(Recurring.model_fields),
    "queues": tuple(QueueLimits.model_fields),
}
_WHERE = {
    "": "outside this table",
    "dispatcher": "in the dispatcher table",
    "pools": "in a pool",
    "recurring": "in a table of recurring",
    "queues": "in a queue's table",
}


def dotted(path: KeyPath) -> str:
    """Return a key as messages write it: `pools[1].concurrency`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that an unknown one was probably meant to be."""
    words = list(known)
    near = [
        name for name in words if min(len(name), len(word)) > 2 and (name.startswith(word) or word.startswith(name))
    ]
    return next(iter([*keywords.ours(word, words), *get_close_matches(word, words, n=1), *near]), None)


def misplaced(word: str, table: str) -> str | None:
    """Return the key of a table that a word was probably meant to be."""
    return suggestion(word, _TABLES[table])


def unknown(path: KeyPath) -> str:
    """Return fact and remedy about a key that does not exist."""
    *above, key = path
    table = str(above[0]) if above else ""
    word = str(key).lower()
    if found := misplaced(word, table):
        return f"unknown key; did you mean {found}?"
    for other in _TABLES:
        if found := misplaced(word, other):
            return f"unknown key; did you mean {found} {_WHERE[other]}?"
    return f"unknown key; remove it (known: {', '.join(_TABLES.get(table, ()))})"
