"""`asyncjobs check`: everything that can be wrong before a database is needed, all at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from asyncjobs.cli import options, printing
from asyncjobs.cli.exits import OK, USAGE, complain
from asyncjobs.defining import registry
from asyncjobs.defining.definition import Definition
from asyncjobs.defining.importing import import_problem, put_working_directory_first
from asyncjobs.exceptions import AsyncJobsError, InvalidSettings
from asyncjobs.settings import Settings, config_file, load
from asyncjobs.worker.pools import unserved


def check(
    *,
    modules: options.Modules = None,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Check settings, modules and job definitions; print what would run. Needs no database."""
    settings, problems = _settings(config, env)
    put_working_directory_first()
    for name in dict.fromkeys(modules or ()):
        problems += _placed(import_problem(name), "")
    for position, name in enumerate(settings.imports if settings else ()):
        problems += _placed(import_problem(name), _place(config, env, position))
    problems += definition_problems(registry.all_definitions())
    warnings = unserved(settings.pools, registry.all_definitions()) if settings else []
    if as_json:
        printing.as_json(
            {"problems": problems, "warnings": warnings, **(_what_would_run(settings) if settings else {})}
        )
    elif problems or settings is None:
        complain(*problems)
    else:
        _print(settings)
        complain(*warnings)
    raise typer.Exit(USAGE if problems else OK)


def definition_problems(definitions: Iterable[Definition]) -> list[str]:
    """Compile the codecs of each definition; return what is wrong, with the line of each."""
    problems = []
    for definition in definitions:
        for codec in ("arguments", "result"):
            try:
                getattr(definition, codec)
            except AsyncJobsError as error:
                problems.append(f"{definition.source.file}:{definition.source.line}: {error}")
                break  # the same annotations stand behind both
            except Exception as error:
                # Whatever pydantic makes of an annotation it does not know.
                text = str(error).splitlines()[0] if str(error) else ""
                problems.append(
                    f"{definition.source.file}:{definition.source.line}: {definition.kind}: its {codec} cannot be "
                    f"compiled: {type(error).__name__}: {text}"
                )
    return problems


def _settings(config: Path | None, env: str | None) -> tuple[Settings | None, list[str]]:
    try:
        return load(config, environment=env), []
    except InvalidSettings as error:
        return None, list(error.problems)


def _placed(problem: str | None, place: str) -> list[str]:
    return [] if problem is None else [f"{place}{problem}"]


def _place(config: Path | None, env: str | None, position: int) -> str:
    """Return where in the config file a module is named, as a prefix; empty when it comes from elsewhere."""
    file = config_file.find(config)
    if file is None:
        return ""
    for table in (env or "", "default"):
        if "imports" in file.tables.get(table, {}):
            return f"{file.path}:{file.lines.of((table, 'imports', position))}: "
    return ""


def _what_would_run(settings: Settings) -> dict[str, Any]:
    return {
        "environment": settings.environment,
        "source": settings.source,
        "database": settings.safe_database_url or "embedded",
        "pools": [
            {"queues": list(pool.queues), "concurrency": pool.concurrency, "processes": pool.processes}
            for pool in settings.pools
        ],
        "kinds": [
            {
                "kind": definition.kind,
                "aliases": list(definition.aliases),
                "queue": definition.options.queue if not callable(definition.options.queue) else "(computed)",
                "source": str(definition.source),
            }
            for definition in registry.all_definitions()
        ],
    }


def _print(settings: Settings) -> None:
    what = _what_would_run(settings)
    printing.fields(
        {
            "settings": f"{what['source'] or 'defaults and environment'} ({what['environment']})",
            "database": what["database"] if settings.database_url else "an embedded PostgreSQL of this project",
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
        [(kind["kind"], kind["queue"] or "default", kind["source"].partition(" ")[2][1:-1]) for kind in what["kinds"]],
        empty="no kinds of job: name modules, as in `asyncjobs check app.jobs`, or set imports in config.toml",
    )
