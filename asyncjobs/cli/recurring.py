"""`asyncjobs recurring …`: recurring jobs, their schedules and their last runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from asyncjobs.cli import command_database
from asyncjobs.cli.enqueue import not_made
from asyncjobs.client.recurring import Recurring, no_such
from asyncjobs.db import reading
from asyncjobs.db import recurring as stored
from asyncjobs.definitions import registry
from asyncjobs.exceptions import InvalidOption
from asyncjobs.jobs.recurring import RecurringStatus
from asyncjobs.settings import load
from asyncjobs.terminal import options, printing
from asyncjobs.terminal.exits import USAGE, complain, exit_codes, fail
from asyncjobs.worker.lease import worker_report

app = typer.Typer(no_args_is_help=True, help="Recurring jobs.")

MOST = 1_000

Name = Annotated[str, typer.Argument(help="As `asyncjobs recurring list` shows it.")]


@app.command("list")
def list_recurring(
    *, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Show recurring jobs: their schedules, also in words, the last run and how it ended, and the next.

    Schedules of code and config.toml are here once a worker has started with them.
    """
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> tuple[list[RecurringStatus], datetime, list[reading.WorkerRow]]:
        async with command_database.reader(settings) as connection:
            rows, now = await command_database.bounded(stored.read(connection))
            return rows, now, await command_database.bounded(reading.workers(connection))

    rows, now, workers = command_database.finish(read)
    left = left_out(rows, workers)
    if as_json:
        printing.as_json(
            [{**_values(row), "left_out": [what for name, what in left if name == row.name]} for row in rows]
        )
        return
    printing.table(
        ["name", "schedule", "in words", "last", "ended", "next", "kind"],
        [
            (
                row.name,
                row.schedule,
                _in_words(row),
                _local(row.last_at, row),
                _ended(row),
                _next(row, now),
                row.kind,
            )
            for row in rows
        ],
        empty="nothing recurs: declare it by @job(schedule=…) or [default.recurring.NAME] and start a worker",
    )
    for row in rows:
        if row.trouble is not None:
            print(f"{printing.shown(row.name)} could not be enqueued: {printing.shown(row.trouble)}")
    for _, sentence in left:
        print(printing.shown(sentence))


def left_out(rows: Sequence[RecurringStatus], workers: Sequence[reading.WorkerRow]) -> list[tuple[str, str]]:
    """Return names of schedules that a worker cannot read and leaves to others, each with a sentence that says why."""
    by_name = {row.name: row for row in rows}
    return [
        (
            each.name,
            f"{each.name} is left to others by {worker.about.get('host')}, pid {worker.about.get('pid')}: {each.why}",
        )
        for worker in workers
        if not worker.late
        for each in worker_report.read(worker.report).left_out
        if (row := by_name.get(each.name)) is not None and each.is_of(row)
    ]


@app.command("next")
def next_times(
    *,
    name: Name,
    count: Annotated[int, typer.Option(min=1, max=MOST, help="How many times to show.")] = 5,
    config: options.Config = None,
    env: options.Environment = None,
    as_json: options.Json = False,
) -> None:
    """Show the next times of a schedule, even a paused one: in its time zone, and in UTC."""
    with exit_codes():
        settings = load(config, environment=env)
    rows, now = _read(config, env)
    with registry.prefixed(settings.kind_prefix):
        wanted = registry.with_prefix(name)
    row = next((row for row in rows if row.name in (name, wanted)), None)
    if row is None:
        fail(USAGE, no_such(name, [row.name for row in rows]))
    with exit_codes():
        times = row.next_times(count, now)
    if as_json:
        printing.as_json({"name": row.name, "timezone": row.timezone, "times": times})
        return
    printing.table(
        [row.timezone, "UTC", "in"], [(_local(time, row), time, _in(time, now)) for time in times], empty="never"
    )


@app.command("run")
def run(
    *, name: Name, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Enqueue its job now; print the job's id."""

    async def operation(recurring: Recurring) -> dict[str, Any]:
        job = await recurring.run(name)
        return {"name": name, "job": job.id, "disposition": job.disposition}

    done = _change(operation, "job", config, env, as_json=as_json)
    complain(*not_made(done["job"], done["disposition"]))


@app.command("pause")
def pause(
    *, name: Name, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Enqueue nothing by a schedule until it is resumed, whatever is deployed meanwhile."""

    async def operation(recurring: Recurring) -> dict[str, Any]:
        await recurring.pause(name)
        return {"name": name, "paused": True}

    _change(operation, None, config, env, as_json=as_json)


@app.command("resume")
def resume(
    *, name: Name, config: options.Config = None, env: options.Environment = None, as_json: options.Json = False
) -> None:
    """Go on with a schedule from now on; times during the pause get no job."""

    async def operation(recurring: Recurring) -> dict[str, Any]:
        await recurring.resume(name)
        return {"name": name, "paused": False}

    _change(operation, None, config, env, as_json=as_json)


def _change(
    operation: Any, shown: str | None, config: options.Config, env: options.Environment, *, as_json: bool
) -> dict[str, Any]:
    async def change() -> dict[str, Any]:
        async with command_database.CommandJobs(config=config, environment=env) as jobs:
            done: dict[str, Any] = await operation(jobs.recurring)
            return done

    done = command_database.finish(change)
    if as_json:
        printing.as_json(done)
    elif shown is not None:
        print(done[shown])
    else:
        print(f"{printing.shown(done['name'])} is {'paused' if done['paused'] else 'resumed'}")
    return done


def _read(config: options.Config, env: options.Environment) -> tuple[list[RecurringStatus], datetime]:
    with exit_codes():
        settings = load(config, environment=env)

    async def read() -> tuple[list[RecurringStatus], datetime]:
        async with command_database.reader(settings) as connection:
            return await command_database.bounded(stored.read(connection))

    return command_database.finish(read)


def _values(row: RecurringStatus) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return {**values, "paused": row.paused, "in_words": _in_words(row)}


def _in_words(row: RecurringStatus) -> str:
    try:
        return row.in_words
    except InvalidOption as error:  # another version's schedule, or an unknown time zone
        return str(error)


def _local(moment: datetime | None, row: RecurringStatus) -> str:
    """Return a time in the schedule's time zone."""
    if moment is None:
        return ""
    try:
        zone: Any = ZoneInfo(row.timezone)
    except (ValueError, OSError, KeyError):
        zone = UTC
    return moment.astimezone(zone).isoformat(sep=" ", timespec="seconds" if not moment.microsecond else "milliseconds")


def _ended(row: RecurringStatus) -> str:
    if row.last_at is None:
        ended = ""
    elif row.last_state is None:
        ended = "past its retention"
    else:
        ended = row.last_state
    if row.skipped_at is not None:
        ended = f"{ended}, left out since".removeprefix(", ")
    return ended


def _next(row: RecurringStatus, now: datetime) -> str:
    if row.next_at is None:
        return "paused" if row.paused else "not enabled"
    return f"{_local(row.next_at, row)} ({_in(row.next_at, now)})"


def _in(time: datetime, now: datetime) -> str:
    seconds = (time - now).total_seconds()
    return f"in {printing.age(seconds)}" if seconds >= 0 else f"{printing.age(-seconds)} ago"
