"""The command line's tree of commands."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from asyncjobs import __version__
from asyncjobs.cli import db, failed, job_actions, jobs, limits, pauses, recurring, status
from asyncjobs.cli.check import check
from asyncjobs.cli.commands import Commands
from asyncjobs.cli.doctor import doctor
from asyncjobs.cli.enqueue import enqueue
from asyncjobs.cli.health import health
from asyncjobs.cli.init import init
from asyncjobs.cli.run import run
from asyncjobs.cli.top import top
from asyncjobs.cli.web import web
from asyncjobs.demo.command import demo
from asyncjobs.terminal import options

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 unhealthy or not migrated.",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"asyncjobs {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    log_level: options.LogLevel = None,
    version: Annotated[  # noqa: ARG001 - its callback ends the command
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs for asyncio Python on PostgreSQL."""
    if log_level is not None:
        # In the environment, where the settings of every command are read.
        os.environ["ASYNCJOBS_LOG_LEVEL"] = log_level


for command in (demo, init, run, check, enqueue, status.status, top, doctor, web, health):
    app.command()(command)
for command in (failed.failed, job_actions.retry, job_actions.discard, job_actions.cancel):
    jobs.app.command()(command)
for command in (pauses.pause, pauses.resume):
    status.queues.command()(command)
app.add_typer(jobs.app, name="jobs")
app.add_typer(status.queues, name="queues")
app.add_typer(limits.app, name="limits")
app.add_typer(recurring.app, name="recurring")
app.add_typer(db.app, name="db")
