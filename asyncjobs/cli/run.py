"""`asyncjobs run`: work until told to stop."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Annotated

import typer

from asyncjobs import logs
from asyncjobs.cli.reloading import Reloading
from asyncjobs.cli.supervising import Supervising, shares
from asyncjobs.definitions import registry
from asyncjobs.jobs.declared_schedules import declared
from asyncjobs.modules.importing import import_modules, put_working_directory_first
from asyncjobs.performing.job_fields import filter_handlers, follow_structlog
from asyncjobs.probes.service_manager import ServiceManager
from asyncjobs.processes.link import Link
from asyncjobs.processes.worker_process import Plan, Process
from asyncjobs.settings import Settings
from asyncjobs.settings.loading import read
from asyncjobs.terminal import options
from asyncjobs.terminal.exits import exit_codes
from asyncjobs.worker.slots.choosing import chosen

logger = logging.getLogger("asyncjobs.supervisor")


def run(
    *,
    modules: options.Modules = None,
    config: options.Config = None,
    env: options.Environment = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="Run every pool in so many processes, whatever the pools say.")
    ] = None,
    queues: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUES", help="Serve these queues only: names, mail*, -bulk, separated by commas; may be repeated."
        ),
    ] = None,
    pool: Annotated[
        list[int] | None, typer.Option(metavar="N", help="Serve this pool only, the first is 1; may be repeated.")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Answer /livez, /readyz and /metrics there, such as 127.0.0.1:9000."),
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when nothing is left to do.")] = False,
    shutdown_timeout: Annotated[str | None, typer.Option(help="What running jobs get to finish, such as 30s.")] = None,
    log_format: options.LogFormat = None,
    log_level: options.LogLevel = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the schema up to date first.")] = False,
    reload: Annotated[
        bool,
        typer.Option(
            "--reload", help="Start again when a file of this directory changes; one process, for development."
        ),
    ] = False,
) -> None:
    """Work: claim jobs and run them until SIGTERM or Ctrl-C.

    Modules are imported from the working directory first, wherever the config file is, and else from where Python finds
    them.

    At the first signal running jobs may finish for the shutdown timeout; what is left is cancelled and released, no
    attempt spent. A second signal cancels at once, a third ends the process. SIGQUIT prints what every thread does.
    """
    with exit_codes():
        link = Link()
        settings, warnings = read(
            config,
            environment=env,
            database_url=link.url,
            shutdown_timeout=shutdown_timeout,
            log_format=log_format,
            log_level=log_level,
            http=http,
        )
        options.configure_logs(settings)
        if not link.is_child:  # whose parent has said it
            for warning in warnings:
                logger.warning("%s", warning)
        entries = [entry.strip() for words in queues or () for entry in words.split(",")]
        pools = chosen(settings.pools, numbers=pool or (), queues=entries)
        # What is named here is imported wherever a job of this worker runs, as what the file names is.
        settings = settings.model_copy(update={"imports": tuple(dict.fromkeys([*(modules or ()), *settings.imports]))})
        plan = Plan(
            settings=settings,
            pools=pools,
            burst=burst,
            migrate=migrate,
            worker_id=link.worker_id,
            share=link.share,
            on_ready=link.ready,
            on_quiet=link.quiet,
            supervisor=link.relay,
            service_manager=ServiceManager.of_environment(),
        )
        given = _arguments(modules or [], config, env, settings, burst=burst)
        given += [word for number in pool or () for word in ("--pool", str(number))]
        given += ["--queues", ",".join(entries)] if entries else []
        if reload and not link.is_child:
            given += ["--migrate"] if migrate else []
            raise typer.Exit(Supervising(plan, given, reloading=Reloading(Path.cwd())).run())
        children = shares(pools, processes)
        if len(children) > 1 and not link.is_child:
            raise typer.Exit(Supervising(plan, given, children).run())
        if link.imports_here:
            put_working_directory_first()
        with logs.theirs_first():
            import_modules(settings.imports)
        if settings.log_format != "none":
            filter_handlers()
        follow_structlog()
        with registry.prefixed(settings.kind_prefix):
            declared(settings)  # what cannot recur is said before anything is connected
    process = Process(plan)
    threading.Thread(target=link.listen, args=[process.signals.stop], name="asyncjobs link", daemon=True).start()
    raise typer.Exit(process.run())


def _arguments(
    modules: list[str], config: Path | None, env: str | None, settings: Settings, *, burst: bool
) -> list[str]:
    """Return the words with which a child does its part."""
    words = ["run", *modules, "--shutdown-timeout", f"{settings.shutdown_timeout}s", "--log-level", settings.log_level]
    if config is not None:
        words += ["--config", str(config)]
    if env is not None:
        words += ["--env", env]
    if "log_format" in settings.model_fields_set:
        words += ["--log-format", settings.log_format]
    if settings.http:
        words += ["--http", settings.http]
    return [*words, "--burst"] if burst else words
