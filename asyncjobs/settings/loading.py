"""Settings read from all sources, with every problem in them at once."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from asyncjobs.exceptions import InvalidSettings
from asyncjobs.settings import config_file, keys, sources
from asyncjobs.settings.models import Settings
from asyncjobs.settings.values import as_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from asyncjobs.settings.lines import KeyPath
    from asyncjobs.settings.sources import Layer


logger = logging.getLogger("asyncjobs.settings")


def load(config: Path | str | None = None, *, environment: str | None = None, **arguments: Any) -> Settings:
    """Read the settings, and log the warnings of `read`."""
    settings, warnings = read(config, environment=environment, **arguments)
    for warning in warnings:
        logger.warning("%s", warning)
    return settings


def read(
    config: Path | str | None = None, *, environment: str | None = None, **arguments: Any
) -> tuple[Settings, list[str]]:
    """Read the settings: defaults, under the config file, under `ASYNCJOBS_*`, under arguments.

    Args:
        config: The file; else `ASYNCJOBS_CONFIG`, else `config.toml` in the working directory if it has `[default]`.
        environment: The file's table to lay over `[default]`; else `ASYNCJOBS_ENV`, else `development`.
        arguments: Fields of `Settings`; None counts as not given. Tables merge, lists replace.

    Returns:
        The settings, and warnings: one sentence for each unknown variable, and one if the environment may have been
        forgotten.

    Raises:
        InvalidSettings: With all problems of all sources, and the warnings.
    """
    named = environment or os.environ.get("ASYNCJOBS_ENV")
    chosen = named or "development"
    file = config_file.find(config)
    from_environment = sources.from_environment()
    layers = [from_environment, sources.from_arguments(arguments)]
    problems = []
    if file is not None:
        layers = [file.layer("default"), file.layer(chosen), *layers]
        problems += file.problems
        if unknown := file.unknown_environment(chosen):
            problems.append(f"{'argument environment' if environment else 'ASYNCJOBS_ENV'}: {unknown}")
    problems += from_environment.problems
    settings, found = _validated(layers, environment=chosen, source=file and file.path.absolute())
    warnings = list(from_environment.warnings)
    if file is None and (untold := config_file.ignored()):
        warnings.append(untold)
    if settings is None or problems:
        raise InvalidSettings(problems + found + warnings)
    if not named and not settings.database_url and file is not None:
        warnings += _forgotten(file)
    return settings, warnings


def _forgotten(file: config_file.ConfigFile) -> Iterator[str]:
    """Yield a warning if a private PostgreSQL is used because no environment was named, although the file has one."""
    for name in file.environments:
        if name not in config_file.PRIVATE_IN and file.layer(name).values.get("database_url"):
            yield (
                "ASYNCJOBS_ENV is not set, so this is development, with a private PostgreSQL and not with the database_url "
                f"of [{name}] in {file.path}: set ASYNCJOBS_ENV={name}, or ASYNCJOBS_ENV=development if it is meant"
            )
            return


def place_of(settings: Settings, path: KeyPath, *, config: Path | str | None = None) -> str:
    """Return the place of a setting, for a problem that is found later; its dotted name where the place is not known."""
    file = config_file.find(config or settings.source)
    layers = [] if file is None else [file.layer("default"), file.layer(settings.environment)]
    return _place(path, [*layers, sources.from_environment()])


def _validated(layers: list[Layer], **found_out: Any) -> tuple[Settings | None, list[str]]:
    values: dict[str, Any] = {}
    for layer in layers:
        values = sources.merged(values, layer.values)
    # Unknown keys are taken out here: users do not set `environment` and `source`.
    unknown_keys = [key for key in values if key not in keys.KEYS]
    problems = [f"{_place((key,), layers)}: {keys.unknown((key,))}" for key in unknown_keys]
    known = {key: value for key, value in values.items() if key in keys.KEYS}
    try:
        settings = Settings(**known, **found_out)
    except ValidationError as error:
        problems += [_sentence(details, layers) for details in error.errors()]
        return None, problems
    return None if problems else settings, problems


def _sentence(details: ErrorDetails, layers: list[Layer]) -> str:
    """Return one problem in asyncjobs's words: its place, what is wrong, the remedy."""
    path = details["loc"][:-1] if details["loc"][-1] == "[key]" else details["loc"]
    return f"{_place(path, layers)}: {_fact(details)}"


def _fact(details: ErrorDetails) -> str:
    value, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            return keys.unknown(details["loc"])
        case "missing":
            return f"missing; add {details['loc'][-1]} = {_EXAMPLES.get(str(details['loc'][-1]), '…')}"
        case "literal_error":
            return f"{as_toml(value)} is not allowed; give {context['expected'].replace(chr(39), chr(34))}"
        case "tuple_type" if isinstance(value, dict):
            return "one table is not a list; give a list of tables, which TOML writes [[…]]"
        case "tuple_type":
            return f"{as_toml(value)} is not a list; write it in brackets: [{as_toml(value)}]"
        case "dict_type" | "model_type" | "model_attributes_type" if isinstance(value, list):
            return "a list is not a table; TOML writes a table with single brackets, […]"
        case "dict_type" | "model_type" | "model_attributes_type" if details["loc"][0] in ("queues", "recurring"):
            return (
                f"{as_toml(value)} is not a table; write one with a name of its own, [default.{details['loc'][0]}.NAME]"
            )
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{as_toml(value)} is not a table; write its keys with values"
        case _:
            fact = details["msg"]
            # "URL scheme …" stays so
            return f"{as_toml(value)} is not allowed; {fact if fact[1:2].isupper() else fact[:1].lower() + fact[1:]}"


_EXAMPLES = {
    "job": '"app.jobs.DailyReport"',
    "schedule": '"0 6 * * *"',
    "queues": '["default"]',
    "concurrency": "10",
    "max_depth": "10000",
}


def _place(path: KeyPath, layers: list[Layer]) -> str:
    """Return the place to change: in the highest layer that decides the value."""
    for known in (path, path[:-1]):  # a missing key belongs to its table's place
        for layer in reversed(layers):
            if known and _decides(layer.values, known):
                return layer.place(path)
    return keys.dotted(path)


def _decides(values: Any, path: KeyPath) -> bool:
    """Whether a layer's values reach the path, or end before it in a value that lower layers cannot complete."""
    for part in path:
        if not isinstance(values, dict):
            return True
        if part not in values:
            return False
        values = values[part]
    return True
