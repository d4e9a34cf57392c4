"""`asyncjobs status` and `asyncjobs queues list`: queues, workers, ended jobs, and troubles."""

from __future__ import annotations

from typing import Any, NamedTuple

import typer

from asyncjobs.cli import command_database, failed, pauses
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

    overview = command_database.finish(read)
    if as_json:
        printing.as_json(_as_values(overview))
        return
    print_queues(overview.queues)
    pauses.table(overview.pauses)
    print()
    _print_workers(overview.workers)
    print()
    _print_troubles(overview.workers)
    if overview.finished is None:
        print("finished in 24 h: too many to count within 2 s")
    else:
        ended = [(state_name(state), count) for state, count in overview.finished.items()]
        printing.table(["finished in 24 h", "jobs"], ended, empty="nothing finished in 24 h")
    if overview.failures.groups:
        print()
        _print_failures(overview.failures)


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
        printing.as_json(_queue_values(rows, paused))
    else:
        print_queues(rows)
        pauses.table(paused)


def _queue_values(rows: list[reading.QueueRow], paused: list[Pause]) -> list[dict[str, Any]]:
    """Return each queue that holds jobs or is paused, with its pause."""
    by_queue = {pause.queue: pause._asdict() for pause in paused if pause.queue is not None}
    named = {row.queue for row in rows}
    empty = [reading.QueueRow(queue, 0, 0, 0, 0, None, True) for queue in by_queue if queue not in named]
    every = sorted([*rows, *empty], key=lambda row: row.queue)
    return [{**row._asdict(), "pause": by_queue.get(row.queue)} for row in every]


def print_queues(rows: list[reading.QueueRow]) -> None:
    """Print the jobs of each queue by state; an incomplete count is shown with a plus."""
    printing.table(
        ["queue", "ready", "scheduled", "running", "waiting", "oldest ready"],
        [
            (
                row.queue,
                *(_counted(n, row) for n in (row.ready, row.scheduled, row.running, row.waiting)),
                printing.age(row.oldest),
            )
            for row in rows
        ],
        empty="no live jobs",
    )


def _counted(count: int, row: reading.QueueRow) -> int | str:
    return f"{count}+" if count and not row.exact else count


def _print_workers(rows: list[reading.WorkerRow]) -> None:
    printing.table(
        ["worker", "host", "pid", "pools", "last beat", "running", "up"],
        [
            (
                row.id,
                row.about.get("host"),
                row.about.get("pid"),
                ", ".join(_pools(row.about)),
                f"{printing.age(row.beat)} ago" + _remark(row),
                row.running,
                printing.age(row.age),
            )
            for row in rows
        ],
        empty="no workers",
    )


def _remark(row: reading.WorkerRow) -> str:
    if row.late:
        return " (lease over)"
    report = worker_report.read(row.report)
    return " (draining)" if report.draining else " (claims nothing)" if report.claims_nothing else ""


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
            ["blocks the event loop", "times", "longest"],
            [(kind, times, printing.age(longest)) for kind, (times, longest) in blocked.items()],
            empty="",
        )
        print()


def _pools(about: dict[str, Any]) -> list[str]:
    pools = [pool for pool in _list(about.get("pools")) if isinstance(pool, dict)]
    return [f"{'+'.join(map(str, _list(pool.get('queues'))))} x {pool.get('concurrency')}" for pool in pools]


def _list(value: Any) -> list[Any]:
    """Return a value of a worker's facts as a list; another version may say something else."""
    return value if isinstance(value, list) else []


def _worker(row: reading.WorkerRow) -> dict[str, Any]:
    return {
        "id": row.id,
        **row.about,
        "up": row.age,
        "beat": row.beat,
        "late": row.late,
        "running": row.running,
        **worker_report.as_values(worker_report.read(row.report)),
    }


def _as_values(overview: Overview) -> dict[str, Any]:
    finished = overview.finished
    return {
        "queues": _queue_values(overview.queues, overview.pauses),
        "failed": failed.as_values(overview.failures),
        "pauses": pauses.as_values(overview.pauses),
        "workers": [_worker(row) for row in overview.workers],
        "finished_24h": None if finished is None else {state_name(state): n for state, n in finished.items()},
    }
