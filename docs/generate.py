"""The pages that are made from others' words: settings, commands and exceptions from the code, figures from the benchmarks.

`python docs/generate.py` writes them anew; `tests/docs` says when that is due.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

import asyncjobs
from asyncjobs import exceptions
from asyncjobs.checks.durations import TEN_YEARS
from asyncjobs.cli.application import app
from asyncjobs.settings import models
from asyncjobs.settings.keys import FOUND_OUT
from asyncjobs.settings.values import LOG_LEVELS

DOCUMENTS = Path(__file__).parent
NOTE = "<!-- Made by `python docs/generate.py`: change the words where they come from, and run that again. -->"

# Settings

TABLES = (
    (models.Dispatcher, "dispatcher", "[default.dispatcher]", "One table."),
    (
        models.Pool,
        "pools",
        "[[default.pools]]",
        "A list of tables, in priority order. A list of an environment replaces that of `[default]`.",
    ),
    (models.QueueLimits, "queues.NAME", "[default.queues.NAME]", "A table for each queue; a queue needs none."),
    (
        models.Recurring,
        "recurring.NAME",
        "[default.recurring.NAME]",
        "A table for each schedule, by a name of your choice.",
    ),
)
HEAD_OF_SETTINGS = """\
# Settings

Settings come from four places. Later ones win over earlier ones:

1. the defaults below;
2. `config.toml`: its table `[default]`, and over it the table of the environment, such as `[production]`;
3. environment variables;
4. arguments: `AsyncJobs(lease=10)` in Python, options such as `--shutdown-timeout` of a command.

The file is the one that `--config` or `ASYNCJOBS_CONFIG` names, else `config.toml` in the working directory if it has
a table `[default]`. The environment is what `--env` or `ASYNCJOBS_ENV` says, else `development`; others
than `development` and `test` must have a table in a file that has any. Tables merge with those of `[default]`; lists
replace them. `asyncjobs check` lists every mistake at once, each with its line. An unknown key in the file is an error;
an unknown variable is a warning.

A time is a number of seconds, or text with units: `"500ms"`, `"45s"`, `"10m"`, `"1h30m"`, `"7d"`. A size is a number
of bytes, or text such as `"64MiB"`. In a variable, lists and tables are written as JSON:
`ASYNCJOBS_IMPORTS='["app.jobs"]'`; modules with commas, too.

`database_url` takes libpq's parameters, several hosts included. What asyncpg cannot do, such as `channel_binding=require`,
is refused by name. `sslrootcert=system` verifies by the certificates of the system.
"""
UNITS = ((TEN_YEARS / 10, "years"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (0.001, "ms"))


def settings() -> str:
    """Return the page of settings."""
    parts = [HEAD_OF_SETTINGS, NOTE, "", "## Top level", "", "In `[default]`, or in the table of an environment.", ""]
    tables = {path.partition(".")[0] for _, path, *_ in TABLES}
    for name, field in models.Settings.model_fields.items():
        if name not in FOUND_OUT:
            parts += _setting(models.Settings, name, field, f"ASYNCJOBS_{name.upper()}", see=name in tables)
    for model, path, header, about in TABLES:
        parts += [f"## `{header}`", "", about, ""]
        for name, field in model.model_fields.items():
            variable = f"ASYNCJOBS_DISPATCHER__{name.upper()}" if path == "dispatcher" else ""
            parts += _setting(model, name, field, variable, see=False)
    return "\n".join(parts).rstrip() + "\n"


def _setting(model: type[BaseModel], name: str, field: FieldInfo, variable: str, *, see: bool) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    facts = ["see below" if see else _type(field), _default(name, field)]
    yield " · ".join([*facts, f"`{variable}`"] if variable else facts)
    yield ""
    yield _attribute_docstrings(model)[name]
    yield ""


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the text below each field of a class."""
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            found[field.target.id] = _paragraph(str(below.value.value))
    return found


def _type(field: FieldInfo) -> str:
    return _said(field.annotation, field.metadata)


def _said(annotation: Any, metadata: list[Any]) -> str:
    """Return what a setting may be, in words."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "a table"
    limits = [_limits(each) for each in metadata]
    if found := [each for each in limits if each]:
        return found[0]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _said(arguments[0], list(arguments[1:]))
    if origin is typing.Literal:
        return "one of " + ", ".join(f'`"{each}"`' for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_said(each, []) for each in arguments if each is not type(None))
    if origin is tuple or origin is list:
        return "a list"
    if origin is dict:
        return "a table"
    return {bool: "`true` or `false`", str: "text"}[annotation]


def _limits(validator: Any) -> str:
    """Return what the checks of `asyncjobs.settings.values` allow; empty: no numbers."""
    check: Callable[..., Any] = getattr(validator, "func", None) or (lambda: None)
    if check.__name__ == "_log_level":
        return "one of " + ", ".join(f'`"{level}"`' for level in LOG_LEVELS)
    sort = check.__qualname__.partition(".")[0]
    if sort not in ("whole", "time", "size"):
        return ""
    bounds = inspect.getclosurevars(check).nonlocals
    minimum, maximum = bounds["minimum"], bounds["maximum"]
    match sort:
        case "whole":
            return f"a whole number from {minimum:,} to {maximum:,}"
        case "time":
            return f"a time from {_time(minimum)} to {_time(maximum)}"
        case _:
            return f"a size from {minimum >> 20} MiB to {maximum >> 20} MiB"


def _time(seconds: float) -> str:
    size, unit = next((each for each in UNITS if seconds >= each[0]), (1, ""))
    return f"{seconds / size:g} {unit}".rstrip()


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if name == "log_format":
        return "default: text on a terminal, else JSON"
    if name == "pools":
        return "default: one pool of all queues, ten jobs at once"
    if value in (None, "", (), {}) or isinstance(value, BaseModel):
        return "default: none" if not isinstance(value, BaseModel) else "default: as below"
    if isinstance(value, str):
        return f'default `"{value}"`'
    if isinstance(value, bool):
        return f"default `{str(value).lower()}`"
    return f"default {_seconds_or_number(value, field)}"


def _seconds_or_number(value: float, field: FieldInfo) -> str:
    said = _type(field)
    if said.startswith("a time"):
        return _time(value)
    return f"{value >> 20} MiB" if said.startswith("a size") and isinstance(value, int) else f"{value:,}"


# Commands

HEAD_OF_COMMANDS = """\
# Commands

Each command prints the same with `--help`. `python -m asyncjobs` is the same program.

Three options are the same everywhere: `--config` names the `config.toml` (`-c` for short; default: the one in the
working directory), `--env` its table, such as `production` (default: `ASYNCJOBS_ENV`), and `--json` prints data for
programs. Commands that end or change many jobs ask first; where there is no terminal they want `--yes`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed, or there was nothing to do it to |
| 2 | the command line or the configuration is wrong |
| 3 | unhealthy: the database cannot be used, the schema is not migrated, or a check of `doctor` has failed |
| 130 | `run` was ended by a third signal |
"""
EVERYWHERE = {"config": "config", "env": "env", "as_json": "json"}
"""Parameters that the page tells of once, and their options."""


def commands() -> str:
    """Return the page of commands."""
    parts = [HEAD_OF_COMMANDS, NOTE, ""]
    root = get_command(app)
    for words, command in _leaves(root, ()):
        arguments = [_metavar(each) for each in command.params if each.param_type_name == "argument"]
        usage = " ".join([*words, *arguments, "[OPTIONS]"])
        parts += [f"## `{' '.join(words)}`", "", "```text", usage, "```", "", _prose(command.help or ""), ""]
        own = [each for each in command.params if each.name not in (*EVERYWHERE, "help")]
        if own:
            parts += ["| | | default |", "|---|---|---|", *map(_parameter, own), ""]
        if everywhere := [f"`--{name}`" for each in command.params if (name := EVERYWHERE.get(each.name))]:
            parts += [f"Also {', '.join(everywhere)}.", ""]
    return "\n".join(parts).rstrip() + "\n"


def _leaves(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Go through the commands that do something, with their words."""
    words = words or ("asyncjobs",)
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield words, command
        return
    for name, each in subcommands.items():
        yield from _leaves(each, (*words, name))


def _parameter(parameter: Any) -> str:
    is_flag = bool(getattr(parameter, "is_flag", False))
    if parameter.param_type_name == "argument":
        shown = f"`{_metavar(parameter)}`"
    else:
        names = [*parameter.opts, *parameter.secondary_opts]
        shown = ", ".join(f"`{name}`" if is_flag else f"`{name} {_metavar(parameter)}`" for name in names)
    default = "" if is_flag or parameter.default in (None, "") else f"`{parameter.default}`"
    return f"| {_cell(shown)} | {_cell(parameter.help or '')} | {default} |"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


# Exceptions

HEAD_OF_EXCEPTIONS = """\
# Exceptions

All are in `asyncjobs`. `except asyncjobs.AsyncJobsError` takes every error of this library; `JobFailed`, `JobDiscarded` and
`JobCancelled` say how a job ended that was awaited, and the others what is wrong with a call, the settings or the database.

`Retry`, `Snooze`, `Discard` and `Cancel`, which a job raises to say how its attempt ends, are no errors: see
[Failing](api/failing.md).
"""


def public_errors() -> list[type[Exception]]:
    """Return the public exceptions and warnings of `asyncjobs.exceptions`, the base of all first and the warnings last."""
    ours = [vars(asyncjobs)[name] for name in asyncjobs.__all__]
    found = [each for each in vars(exceptions).values() if each in ours and inspect.isclass(each)]
    return sorted(found, key=lambda each: issubclass(each, Warning))


def errors() -> str:
    """Return the page of exceptions."""
    everything = public_errors()
    remedies = dict(re.findall(r"[├└]── (\w+)(?: \([^)]*\))? +(\S.*)$", inspect.getdoc(exceptions) or "", re.MULTILINE))
    parts = [HEAD_OF_EXCEPTIONS, NOTE, "", "```text"]
    for root in everything:
        if not any(base in everything for base in root.__bases__):
            parts += _tree(root, everything, remedies, "")
    parts += ["```", ""]
    for each in everything:
        bases = ", ".join(f"`{base.__name__}`" for base in each.__bases__)
        parts += [f"## `{each.__name__}`", "", f"Derives from {bases}.", "", *_google(each), ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _tree(
    error: type[Exception], everything: list[type[Exception]], remedies: dict[str, str], indent: str
) -> Iterator[str]:
    yield f"{indent}{error.__name__:<{32 - len(indent)}}{remedies.get(error.__name__, '')}".rstrip()
    for each in everything:
        if each.__bases__[0] is error:
            yield from _tree(each, everything, remedies, indent + "  ")


def _google(error: type[BaseException]) -> Iterator[str]:
    """Return the text of a docstring, with its attributes as a table."""
    text, _, attributes = inspect.cleandoc(error.__doc__ or "").partition("\nAttributes:\n")
    yield _prose(text)
    if attributes:
        yield from ("", "| attribute | |", "|---|---|")
        for found in re.finditer(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
            yield f"| `{found[1]}` | {_cell(found[2])} |"


# Figures

HEAD_OF_FIGURES = """\
# Measured figures

From [benchmarks/RESULTS.md](../../benchmarks/RESULTS.md), which has every run, the machine and the versions, and says at
its end why some fall short. An `x` is a ratio to the other side that the question names, measured in the same run.
[Speed](speed.md) has the figures that matter most.
"""


def figures() -> str:
    """Return the page of measured figures."""
    results = (DOCUMENTS.parent / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    rows = []
    for section in results.split("\n## ")[1:]:
        name, question = section.split("\n", 3)[0::2]
        _, _, table = section.partition("\n| figure | measured | target | reached |\n|---|--:|--:|---|\n")
        measured = [line for line in table.split("\n\n")[0].splitlines() if line]
        whose = [f"**{name}**: {question}", *[""] * len(measured)]
        rows += [f"| {one} {line}" for one, line in zip(whose, measured, strict=False)]
    lines = [
        HEAD_OF_FIGURES,
        NOTE,
        "",
        "| question | figure | measured | goal | reached |",
        "|---|---|--:|--:|---|",
    ]
    return "\n".join([*lines, *rows]) + "\n"


# Words


def _paragraph(text: str) -> str:
    """Return text as one line, with the options that it names as code: dashes would become another sign."""
    words = " ".join(inspect.cleandoc(text).split())
    parts = words.split("`")
    parts[::2] = [re.sub(r"(?<![\w-])(--[a-z][a-z-]+)", r"`\1`", part) for part in parts[::2]]
    return "`".join(parts)


def _prose(text: str) -> str:
    """Return text with a line for each paragraph."""
    return "\n\n".join(map(_paragraph, re.split(r"\n\s*\n", inspect.cleandoc(text))))


def _cell(text: str) -> str:
    return _paragraph(text).replace("|", "\\|")


PAGES = {
    "reference/settings.md": settings,
    "reference/commands.md": commands,
    "reference/exceptions.md": errors,
    "background/figures.md": figures,
}


def main() -> None:
    """Write the pages."""
    for name, make in PAGES.items():
        (DOCUMENTS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
