"""`asyncjobs run`: work until told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asyncjobs.cli import options
from asyncjobs.cli.exits import exit_codes
from asyncjobs.cli.importing import import_modules
from asyncjobs.cli.process import Plan, Process
from asyncjobs.settings import load


def run(
    modules: options.Modules = None,
    config: options.Config = None,
    env: options.Environment = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Run every pool in so many processes, whatever the pools say.")
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing is left to do.")] = False,
    shutdown_timeout: Annotated[str | None, typer.Option(help="What running jobs get to finish, such as 30s.")] = None,
    log_format: options.LogFormat = None,
    log_level: options.LogLevel = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the schema up to date first.")] = False,
) -> None:
    """Work: claim jobs and run them until SIGTERM or Ctrl-C.

    At the first signal running jobs may finish for the shutdown timeout; what is left is cancelled and released, no
    attempt spent. A second signal cancels at once, a third ends the process. SIGQUIT prints what every thread does.
    """
    with exit_codes():
        settings = load(
            config, environment=env, shutdown_timeout=shutdown_timeout, log_format=log_format, log_level=log_level
        )
        options.configure_logs(settings)
        import_modules([*(modules or ()), *settings.imports])
        plan = Plan(settings=settings, config=config, environment=env, burst=burst, migrate=migrate)
    raise typer.Exit(Process(plan).run())
