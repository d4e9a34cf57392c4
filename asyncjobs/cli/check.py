"""`asyncjobs check`: all problems that can be found without a database, at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from asyncjobs.definitions import registry
from asyncjobs.definitions.definition import Definition
from asyncjobs.exceptions import AsyncJobsError, InvalidSettings
from asyncjobs.jobs.declared_schedules import Declaration, declare, said_of
from asyncjobs.modules.importing import import_problem, put_working_directory_first
from asyncjobs.opening import private_directory
from asyncjobs.settings import Settings, config_file
from asyncjobs.settings.loading import read
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import OK, USAGE, complain
from asyncjobs.worker.limits.configured import unlimited
from asyncjobs.worker.slots.pools import unserved


def check(
    *,
    modules: options.Modules = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Check settings, modules and job definitions; print what would run. Needs no database."""
    settings, problems, warnings = _settings(config, env)
    if not sys.flags.safe_path:
        put_working_directory_first()
    for name in dict.fromkeys(modules or ()):
        problems += _placed(import_problem(name), "")
    for position, name in enumerate(settings.imports if settings else ()):
        problems += _placed(import_problem(name), _place(config, settings, position))
    problems += definition_problems(registry.all_definitions())
    with registry.prefixed(settings.kind_prefix if settings else ""):
        declaration, troubles = declare(settings) if settings and not problems else (None, [])
        problems += [said_of(settings, trouble, config) for trouble in troubles if settings]
        if settings:
            warnings += [*unserved(settings.pools, registry.all_definitions()), *unlimited(settings, config)]
        _tell(settings, declaration, problems, warnings, as_json=as_json)
    raise typer.Exit(USAGE if problems else OK)


def _tell(
    settings: Settings | None,
    declaration: Declaration | None,
    problems: list[str],
    warnings: list[str],
    *,
    as_json: bool,
) -> None:
    what = _what_would_run(settings, declaration) if settings else {}
    if as_json:
        printing.as_json({"problems": problems, "warnings": warnings, **what})
    else:
        if settings is not None and not problems:
            _print(what)
        complain(*problems, *warnings)


def definition_problems(definitions: Iterable[Definition]) -> list[str]:
    """Compile the codecs of each definition; return the problems, each with its line."""
    problems = []
    for definition in definitions:
        for codec in ("arguments", "result"):
            try:
                getattr(definition, codec)
            except AsyncJobsError as error:
                problems.append(f"{definition.source.file}:{definition.source.line}: {error}")
                break  # the other codec has the same annotations
            except Exception as error:
                # Pydantic may raise anything for an annotation that it does not know.
                text = str(error).splitlines()[0] if str(error) else ""
                problems.append(
                    f"{definition.source.file}:{definition.source.line}: {definition.kind}: its {codec} cannot be "
                    f"compiled: {type(error).__name__}: {text}"
                )
    return problems


def _settings(config: Path | None, env: str | None) -> tuple[Settings | None, list[str], list[str]]:
    """Return the settings (None if there are problems), the problems, and the warnings."""
    try:
        settings, warnings = read(config, environment=env)
    except InvalidSettings as error:
        return None, list(error.problems), []
    try:
        private_directory(settings)
    except InvalidSettings as error:
        # Only a warning: this may run where the deployment's URL is not set.
        warnings += error.problems
    return settings, [], warnings


def _placed(problem: str | None, place: str) -> list[str]:
    return [] if problem is None else [f"{place}{problem}"]


def _place(config: Path | None, settings: Settings | None, position: int) -> str:
    """Return the line of the config file that names a module, as a prefix; empty when it is named elsewhere."""
    file = config_file.find(config)
    if file is None or settings is None or os.environ.get("ASYNCJOBS_IMPORTS", "").strip():
        return ""
    for table in (settings.environment, "default"):
        if "imports" in file.tables.get(table, {}):
            return f"{file.path}:{file.lines.of((table, 'imports', position))}: "
    return ""


def _what_would_run(settings: Settings, declaration: Declaration | None) -> dict[str, Any]:
    return {
        "environment": settings.environment,
        "source": settings.source,
        "database": settings.safe_database_url
        or ("embedded" if settings.environment in config_file.PRIVATE_IN else None),
        "pools": [
            {"queues": list(pool.queues), "concurrency": pool.concurrency, "processes": pool.processes}
            for pool in settings.pools
        ],
        "kinds": [
            {
                "kind": definition.kind,
                "aliases": list(definition.aliases),
                "queue": _queue(definition),
                "source": str(definition.source),
            }
            for definition in registry.all_definitions()
        ],
        "recurring": [
            {
                "name": name,
                "kind": said.kind,
                "schedule": said.schedule,
                "timezone": said.timezone,
                "in_words": said.times.in_words,
                "enabled": said.enabled,
                "declared": where,
            }
            for name, (said, where) in sorted(declaration.said.items() if declaration else ())
        ],
    }


def _queue(definition: Definition) -> str:
    queue = definition.options.queue
    return "(computed)" if callable(queue) else queue or "default"


def _print(what: dict[str, Any]) -> None:
    printing.fields(
        {
            "settings": f"{what['source'] or 'defaults and environment'} ({what['environment']})",
            "database": {"embedded": "an embedded PostgreSQL of this project", None: "not set"}.get(
                what["database"], what["database"]
            ),
        }
    )
    print()
    printing.table(
        ["pool", "queues", "concurrency", "processes"],
        [
            (number, ", ".join(pool["queues"]), pool["concurrency"], pool["processes"])
            for number, pool in enumerate(what["pools"], 1)
        ],
        empty="no pools",
    )
    print()
    printing.table(
        ["kind", "queue", "defined at"],
        [
            (definition.kind, _queue(definition), f"{definition.source.file}:{definition.source.line}")
            for definition in registry.all_definitions()
        ],
        empty="no kinds of job: name modules, as in `asyncjobs check app.jobs`, or set imports in config.toml",
    )
    if what["recurring"]:
        print()
        printing.table(
            ["recurring", "kind", "schedule", "in words"],
            [
                (
                    each["name"],
                    each["kind"],
                    each["schedule"],
                    each["in_words"] + ("" if each["enabled"] else ", not enabled"),
                )
                for each in what["recurring"]
            ],
            empty="",
        )
