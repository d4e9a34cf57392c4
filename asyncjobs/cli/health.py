"""`asyncjobs health`: whether a worker of this host is alive, for the health checks of containers."""

from __future__ import annotations

import socket
from typing import Annotated, Any

import typer

from asyncjobs.cli import command_database
from asyncjobs.db import reading
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import UNHEALTHY, complain, exit_codes
from asyncjobs.worker.lease import worker_report


def health(
    *,
    config: options.Config = None,
    env: options.Environment = None,
    host: Annotated[str | None, typer.Option(help="Ask after the workers of this host; default: this one.")] = None,
    as_json: options.Json = False,
) -> None:
    """Ask the database whether a worker of this host holds its lease; end with 0, or with 3 when none does.

    A process that was killed counts as alive until its lease is over, or another worker has declared it dead.

    For a check that restarts what fails it, `asyncjobs run --http` with /livez is better: a database that is away fails
    this one everywhere.
    """
    with exit_codes():
        settings = load(config, environment=env)
    name = socket.gethostname() if host is None else host

    async def read() -> list[reading.HostWorker]:
        async with command_database.reader(settings) as connection:
            return await reading.workers_of_host(connection, name)

    found = command_database.finish(read)
    living = [worker for worker in found if worker.lives]
    if as_json:
        printing.as_json({"healthy": bool(living), "host": name, "workers": [_values(each) for each in living]})
    elif living:
        for worker in living:
            print(_sentence(worker))
    if not living:
        if not as_json:
            last = f"the last one, {_sentence(found[0])}" if found else "the database knows of none"
            complain(f"no worker of host {name} is alive: {last}; `asyncjobs run` starts one")
        raise typer.Exit(UNHEALTHY)


def _sentence(worker: reading.HostWorker) -> str:
    beat = f"{printing.age(worker.beat)} ago"
    if worker.dead:
        return f"worker {worker.id}, has ended, or was declared dead; its last beat was {beat}"
    if not worker.lives:
        return f"worker {worker.id}, is silent: its last beat was {beat}, and its lease is over"
    report = worker_report.read(worker.report)
    why = f"; it claims nothing: {report.claims_nothing}" if report.claims_nothing else ""
    state = "drains" if report.draining else "is alive"
    return (
        f"worker {worker.id} (pid {worker.about.get('pid')}) {state}: its last beat was {beat}; it counts as lost "
        f"{printing.age(round(worker.beat + worker.ends_in, 1))} after its last beat, at the latest{why}"
    )


def _values(worker: reading.HostWorker) -> dict[str, Any]:
    report = worker_report.read(worker.report)
    return {
        "id": worker.id,
        "pid": worker.about.get("pid"),
        "beat": worker.beat,
        "lease": worker.ends_in,
        "draining": report.draining,
        "claims_nothing": report.claims_nothing,
    }
