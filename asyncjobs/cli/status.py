"""`asyncjobs status` and `asyncjobs queues list`: queues, workers, ended jobs, and troubles."""

from __future__ import annotations

from typing import Any, NamedTuple

import typer

from asyncjobs.cli import command_database, failed, overview, pauses
from asyncjobs.db import job_actions, pausing, reading
from asyncjobs.db.rows import state_name
from asyncjobs.exceptions import DatabaseUnavailable
from asyncjobs.failing.failures import Failures
from asyncjobs.jobs.pauses import Pause
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import exit_codes
from asyncjobs.worker.lease import worker_report

queues = typer.Typer(no_args_is_help=True, help="Queues.")


class Overview(NamedTuple):
    """The facts that `status` shows."""

    queues: list[reading.QueueRow]
    workers: list[reading.WorkerRow]
    finished: dict[int, int] | None
    """None: too many to count in time."""
    pauses: list[Pause]
    failures: Failures


def status(*, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False) -> None:
    """Show queues, workers and their troubles, and how jobs ended in the last 24 hours."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> Overview:
        async with command_database.reader(settings) as connection:
            try:
                finished = await command_database.bounded(reading.finished_counts(connection))
            except DatabaseUnavailable:
                finished = None
            return Overview(
                await command_database.bounded(reading.queues(connection)),
                await command_database.bounded(reading.workers(connection)),
                finished,
                await command_database.bounded(pausing.read_pauses(connection)),
                await command_database.bounded(job_actions.read_failures(connection)),
            )

    found = command_database.finish(read)
    if as_json:
        printing.as_json(_as_values(found))
        return
    overview.print_queues(found.queues)
    pauses.table(found.pauses)
    print()
    overview.print_workers(found.workers)
    print()
    _print_troubles(found.workers)
    if found.finished is None:
        print("finished in 24 h: too many to count within 2 s")
    else:
        ended = [(state_name(state), count) for state, count in found.finished.items()]
        printing.table(["finished in 24 h", "jobs"], ended, empty="nothing finished in 24 h")
    if found.failures.groups:
        print()
        _print_failures(found.failures)


def _print_failures(found: Failures) -> None:
    """Print the largest groups of failed jobs, and a note on the others."""
    failed.table(found.groups[: failed.SHOWN])
    if (more := len(found.groups) - failed.SHOWN) > 0:
        print(f"and {more} more groups: `asyncjobs jobs failed`")
    if not found.is_complete:
        print(failed.note(found))


@queues.command("list")
def list_queues(
    *, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Show the jobs of each queue by state, and what is paused."""
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> tuple[list[reading.QueueRow], list[Pause]]:
        async with command_database.reader(settings) as connection:
            return await reading.queues(connection), await pausing.read_pauses(connection)

    rows, paused = command_database.finish(read)
    if as_json:
        printing.as_json(overview.queue_values(rows, paused))
    else:
        overview.print_queues(rows)
        pauses.table(paused)


def _print_troubles(rows: list[reading.WorkerRow]) -> None:
    """Print the troubles of workers, if there are any."""
    idle = [
        (row.id, report.claims_nothing) for row in rows if (report := worker_report.read(row.report)).claims_nothing
    ]
    if idle:
        printing.table(["worker", "claims nothing, because"], idle, empty="")
        print()
    stuck = [(job, row.id) for row in rows for job in worker_report.read(row.report).stuck]
    if stuck:
        printing.table(
            ["stuck job", "kind", "cancelled by", "since", "worker"],
            [(job.id, job.kind, job.reason, job.since, worker) for job, worker in stuck],
            empty="",
        )
        print()
    blocked = worker_report.blocks_of_all(worker_report.read(row.report) for row in rows)
    if blocked:
        printing.table(
            ["blocks the event loop", "times", "longest", "at"],
            [(kind, times, printing.age(longest), place) for kind, (times, longest, place) in blocked.items()],
            empty="",
        )
        print()


def _as_values(found: Overview) -> dict[str, Any]:
    finished = found.finished
    return {
        "queues": overview.queue_values(found.queues, found.pauses),
        "failed": failed.as_values(found.failures),
        "pauses": pauses.as_values(found.pauses),
        "workers": [overview.worker_values(row) for row in found.workers],
        "finished_24h": None if finished is None else {state_name(state): n for state, n in finished.items()},
    }
