"""Sources of settings, each as a layer: its values, and the names of their places in messages."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeGuard, get_args, get_origin

from pydantic import BaseModel

from asyncjobs.settings.keys import KEYS, dotted, misplaced, suggestion
from asyncjobs.settings.models import Dispatcher, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asyncjobs.settings.lines import KeyPath

PREFIX = "ASYNCJOBS_"
OTHER_VARIABLES = ("ASYNCJOBS_ENV", "ASYNCJOBS_CONFIG", "ASYNCJOBS_PG_BIN", "ASYNCJOBS_TEST_DATABASE_URL")
"""Variables that other modules read, beside those of workers."""

INTERNAL_PREFIX = "ASYNCJOBS_WORKER_"
"""Begins the variables by which a supervisor tells its worker processes who they are."""

_OF_ONE_RECURRING = f"{PREFIX}RECURRING__"
"""Begins a variable that goes on with a name, in lower case, and after two underscores one of its keys."""

_MODULES = Settings.model_fields["imports"].annotation
_MANY = (dict, list, tuple)

_ONE_RECURRING = '{"job": "app.jobs.report", "schedule": "@daily"}'
_EXAMPLES = {
    "pools": '[{"queues": ["default"], "concurrency": 5}]',
    "queues": '{"mailers": {"max_depth": 10000}}',
    "limits": '{"app.jobs.charge": 5}',
    "dispatcher": '{"batch_size": 500}',
    "recurring": f'{{"report": {_ONE_RECURRING}}}',
    "imports": '["app.jobs"], or app.jobs,app.mails',
    "middleware": '["app.middleware.Timing"], or app.middleware.Timing,app.middleware.Tracing',
}


@dataclass(frozen=True, slots=True)
class Layer:
    """The values of one source."""

    values: dict[str, Any]
    place: Callable[[KeyPath], str]
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Possible mistakes that are no reason to refuse the settings."""


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one layer's values over another's: tables merge, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def from_arguments(arguments: Mapping[str, Any]) -> Layer:
    """Return the layer of arguments; None counts as not given, so that command line options can be passed through."""
    values = {
        key: value.model_dump(exclude_unset=True) if isinstance(value, Dispatcher) else value
        for key, value in arguments.items()
        if value is not None
    }
    return Layer(values, lambda path: f"argument {dotted(path)}")


def from_environment() -> Layer:
    """Return the layer of `ASYNCJOBS_*`. An empty variable counts as not set, as container tools leave them.

    An unknown one is only a warning: Kubernetes gives every container variables such as `ASYNCJOBS_WEB_PORT` when there is a
    service named asyncjobs-web.
    """
    given = {name: text for name, text in os.environ.items() if name.startswith(PREFIX) and text.strip()}
    given = {
        name: text
        for name, text in given.items()
        if name not in OTHER_VARIABLES and not name.startswith(INTERNAL_PREFIX)
    }
    variables = _variables()
    warnings = [_unknown(name, variables) for name in sorted(given) if not _is_known(name, variables)]
    values: dict[str, Any] = {}
    problems = []
    for name in sorted(given):  # a table before its keys, which are laid over it
        if _is_known(name, variables):
            key, *inner = name.removeprefix(PREFIX).lower().split("__")
            try:
                value = _read(given[name], key, inner)
            except ValueError as error:
                example = (_EXAMPLES[key], _ONE_RECURRING, '{"days": 7}')[len(inner)]
                problems.append(f"{name}: not JSON ({error}); give such as {example}")
                continue
            for part in reversed(inner):
                value = {part: value}
            values = merged(values, {key: value})
    return Layer(values, lambda path: _variable(path, given), problems, warnings)


def _read(text: str, key: str, inner: Sequence[str]) -> Any:
    """Return the value of a variable: a table and a list are JSON, everything else is for the validation to read.

    Raises:
        ValueError: It is not JSON.
    """
    kind: Any = Settings.model_fields[key].annotation
    if kind == _MODULES and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    for part in inner:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif _is_table(kind) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return _guessed(text)
    kinds = get_args(kind) if get_origin(kind) is UnionType else (kind,)
    return json.loads(text) if any(_is_table(each) or get_origin(each) in _MANY for each in kinds) else text


def _guessed(text: str) -> Any:
    """Return a value of which no type is known, as an argument of a job: JSON, or else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _is_table(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _variables() -> list[str]:
    """Return every variable that is a setting."""
    names = []
    for key in KEYS:
        names.append(f"{PREFIX}{key.upper()}")
        kind = Settings.model_fields[key].annotation
        if _is_table(kind):
            names += [f"{names[-1]}__{inner.upper()}" for inner in kind.model_fields]
    return names


def _is_known(name: str, variables: list[str]) -> bool:
    return name in variables or name.startswith(_OF_ONE_RECURRING)


def _variable(path: KeyPath, given: Mapping[str, str]) -> str:
    """Return the variable that holds a key, and the path of the key inside it."""
    names = [str(part).upper() for part in path]
    for end in range(len(names), 0, -1):
        name = PREFIX + "__".join(names[:end])
        if name in given:
            return f"{name}: {dotted(path)}" if path[end:] else name
    return PREFIX + names[0]


def _unknown(name: str, variables: list[str]) -> str:
    known = [variable.removeprefix(PREFIX) for variable in (*variables, *OTHER_VARIABLES)]
    word = name.removeprefix(PREFIX).upper()
    if found := suggestion(word, known):
        return f"{name}: unknown variable; did you mean {PREFIX}{found}?"
    if found := misplaced(word.lower(), "pools"):
        return f"{name}: unknown variable; {found} is a key of a pool: give the pools as JSON in {PREFIX}POOLS"
    return f"{name}: unknown variable; unset it (known: {', '.join(known)}, each after {PREFIX})"
